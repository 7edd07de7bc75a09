"""A quota that is shared by processes on several machines through Redis."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, cast

from pyrate_limiter import Decision, RedisBucket
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

if TYPE_CHECKING:
    from pyrate_limiter import Rate, RateItem

    from .quota_stores import QuotaUrl

CALL_TIMEOUT_SECS = 5.0

# Returns the milliseconds to wait; -1 if the request was counted. The time is read in the script:
# if it were read before, a request counted in between would lie in the future and be overlooked.
# Requires Redis 5, which replicates the effects of a script instead of its text.
PUT = """
local limit, interval, member = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. now - interval)
if redis.call('ZCARD', KEYS[1]) >= limit then
    local blocking = redis.call('ZRANGE', KEYS[1], -limit, -limit, 'WITHSCORES')
    return blocking[2] + interval - now + 1
end
redis.call('ZADD', KEYS[1], now, member)
redis.call('PEXPIRE', KEYS[1], 2 * interval)
return -1
"""


class ServerTimeRedisBucket(RedisBucket):
    """pyrate-limiter's Redis bucket, but with the server's clock.

    The original uses the client's clock, and a clock that is 2 s fast allows twice the rate.
    """

    @override
    def now(self) -> int:
        secs, micros = self.redis.time()  # type: ignore[misc]  # the client is synchronous
        return int(secs) * 1000 + int(micros) // 1000

    @override
    def put(self, item: RateItem) -> bool:
        [rate] = self.rates
        # The client reloads a registered script automatically after a restart of the server.
        put = self.redis.register_script(PUT)
        wait_ms = cast("int", put([self.bucket_key], [rate.limit, rate.interval, uuid.uuid4().hex]))
        if wait_ms < 0:
            return self._record(item, Decision())
        return self._record(item, Decision(failing_rate=rate, retry_after_ms=wait_ms))

    @override
    def close(self) -> None:
        self.redis.close()


def open_bucket(url: QuotaUrl, rate: Rate) -> ServerTimeRedisBucket:
    """Connect to the server.

    Raises:
        redis.RedisError: The server cannot be reached, or does not allow the login.
    """
    redis = Redis.from_url(
        url.address,
        socket_timeout=CALL_TIMEOUT_SECS,
        socket_connect_timeout=CALL_TIMEOUT_SECS,
        retry=Retry(NoBackoff(), 0),
    )
    bucket = ServerTimeRedisBucket([rate], redis, f"quota:{url.name}", script_hash="")
    bucket.now()
    return bucket
