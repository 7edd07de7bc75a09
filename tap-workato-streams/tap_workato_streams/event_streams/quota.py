"""The quota of requests per minute: of this process, or of all processes that share a store.

A store, which is a SQLite file, Redis or PostgreSQL, uses its own clock and counts a request in one
step, so a killed process leaves nothing half done.
"""

from __future__ import annotations

import contextlib
import fcntl
import random
import re
import threading
import time
import uuid
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import url2pathname

from ..event_streams import logger
from .errors import QuotaStoreError, Stopped
from .redaction import redact


@dataclass(frozen=True)
class StoreUrl:
    """A parsed ``quota_url``, or that of another store."""

    scheme: str  # file, redis, rediss or postgresql
    name: str  # distinguishes workspaces that share a store
    address: str = field(repr=False)  # for the store's library; may contain a password

    @classmethod
    def parse(cls, url: str) -> StoreUrl:
        """Parse a URL in which ``store_url_problems`` finds no problems."""
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        name = options.pop("name", "workato_streams")
        # libpq does not decode a + to a space.
        query = urlencode(options, quote_via=quote)
        return cls(parts.scheme, name, urlunsplit(parts._replace(query=query)))

    @property
    def path(self) -> Path:
        """The file of a ``file`` URL."""
        return Path(url2pathname(urlsplit(self.address).path))

    def __str__(self) -> str:
        """The URL without user name, password and options."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def redact(self, text: str) -> str:
        """Convert the text of a library to one short line without the passwords of this URL."""
        parts = urlsplit(self.address)
        passwords = [value for key, value in parse_qsl(parts.query) if "password" in key]
        return redact(text, [unquote(parts.password or ""), *passwords])


SERVERS = ("redis", "rediss", "postgresql")


def store_url_problems(url: str, servers: Sequence[str] = SERVERS) -> Iterator[str]:
    """Yield the problems with the URL of a store, without the URL, which may have a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield "not a valid URL"
        return
    if parts.scheme == "file":
        yield from _file_problems(parts)
    elif parts.scheme not in servers:
        *first, last = (f"{scheme}://" for scheme in servers)
        yield f"must begin with {', '.join(['file:///', *first])} or {last}"
        return
    # libpq can take the host from an option or from the environment.
    elif parts.scheme != "postgresql" and not parts.hostname:
        yield f"must contain the host, such as {parts.scheme}://localhost:6379/0"
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "name" and not re.fullmatch("[a-z0-9_-]{1,32}", value):
            yield "name must be 1 to 32 lower-case letters, digits, _ or -"


def _file_problems(parts: SplitResult) -> Iterator[str]:
    if parts.netloc not in {"", "localhost"} or not re.match("/+[^/]", parts.path):
        yield "must contain the absolute path of a file, such as file:///var/lib/meltano/store.db"
        return
    path = Path(url2pathname(parts.path))
    if path.is_dir():
        yield f"{path} is a folder; add the name of a file"
    elif not path.parent.is_dir():
        yield f"the folder {path.parent} does not exist; create it"


# Shorter than the time after which a store that does not respond is reported.
CALL_TIMEOUT_SECS = 5


class Store(Protocol):
    """A connection to a store; any exception of its library means that it cannot be used."""

    def take(self, limit: int, window_ms: int) -> tuple[int, int | None]:
        """Count a request, unless there are ``limit`` of them in the window.

        Returns 0, or the milliseconds after which to try again; and another limit with which
        requests in the window were counted, if there is one.
        """

    def close(self) -> None:
        """Close the connection."""


class FileStore:
    """A store for the processes of one machine."""

    def __init__(self, url: StoreUrl) -> None:
        import sqlite3  # noqa: PLC0415 - only with this store

        self._name = url.name
        self._db = sqlite3.connect(
            url.path, CALL_TIMEOUT_SECS, isolation_level=None, check_same_thread=False
        )
        # SQLite retries at increasing intervals until no other process has its lock, which is
        # unfair: the lock of the operating system has a queue.
        self._lock = Path(f"{url.path}.lock").open("a")  # noqa: SIM115 - until close()

    def take(self, limit: int, window_ms: int) -> tuple[int, int | None]:  # noqa: D102 - see Store
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            with self._db:
                return self._take(limit, window_ms)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _take(self, limit: int, window_ms: int) -> tuple[int, int | None]:
        execute, name = self._db.execute, self._name
        execute("BEGIN IMMEDIATE")
        execute("CREATE TABLE IF NOT EXISTS requests (name TEXT, at INTEGER, quota INTEGER)")
        millis = "CAST(round((julianday('now') - julianday('1970-01-01')) * 86400000) AS INTEGER)"
        [now] = execute(f"SELECT {millis}").fetchone()
        # A request in the future was counted before the clock was set back.
        outdated = "DELETE FROM requests WHERE name = ? AND at NOT BETWEEN ? AND ?"
        execute(outdated, (name, now - window_ms + 1, now))
        others = "SELECT max(quota) FROM requests WHERE name = ? AND quota != ?"
        [other_limit] = execute(others, (name, limit)).fetchone()
        nth = "SELECT at FROM requests WHERE name = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        if blocking := execute(nth, (name, limit - 1)).fetchone():
            return blocking[0] + window_ms - now, other_limit
        execute("INSERT INTO requests VALUES (?, ?, ?)", (name, now, limit))
        return 0, other_limit

    def close(self) -> None:  # noqa: D102 - see Store
        self._db.close()
        self._lock.close()


# The time is read in the script: if it were read before, a request counted in between would lie in
# the future. Requires Redis 5, which replicates the effects of a script instead of its text.
REDIS_TAKE = """
local limit, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
local requests = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
local other = false
for i = 1, #requests, 2 do
    local counted_with = tonumber(string.match(requests[i], '^%d+'))
    if counted_with ~= limit then other = math.max(other or 0, counted_with) end
end
local blocking = requests[#requests - 2 * limit + 2]
if blocking then
    return {blocking + window - now, other}
end
redis.call('ZADD', KEYS[1], now, ARGV[1] .. ' ' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], 2 * window)
return {0, other}
"""


class RedisStore:
    """A store for several machines."""

    def __init__(self, url: StoreUrl) -> None:
        from redis import Redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        redis = Redis.from_url(
            url.address,
            socket_timeout=CALL_TIMEOUT_SECS,
            socket_connect_timeout=CALL_TIMEOUT_SECS,
            retry=Retry(NoBackoff(), 0),
        )
        self._key = f"workato_streams:{url.name}"
        # The client reloads a registered script after a restart of the server.
        self._take = redis.register_script(REDIS_TAKE)
        self.close = redis.close

    def take(self, limit: int, window_ms: int) -> tuple[int, int | None]:  # noqa: D102 - see Store
        wait_ms, other_limit = self._take([self._key], [limit, window_ms, uuid.uuid4().hex])
        return wait_ms, other_limit


# All statements are sent together, so that a suspended process does not hold the lock.
POSTGRES_TAKE = """
SELECT pg_advisory_xact_lock(hashtext('workato_streams'));
CREATE TABLE IF NOT EXISTS workato_streams_requests (name text, at timestamptz, quota bigint);
DELETE FROM workato_streams_requests WHERE name = %(name)s
    AND at NOT BETWEEN clock_timestamp() - %(window)s AND clock_timestamp();
WITH blocking AS (
    SELECT at + %(window)s - clock_timestamp() AS wait FROM workato_streams_requests
    WHERE name = %(name)s ORDER BY at DESC LIMIT 1 OFFSET %(limit)s - 1
), counted AS (
    INSERT INTO workato_streams_requests
    SELECT %(name)s, clock_timestamp(), %(limit)s WHERE NOT EXISTS (SELECT FROM blocking)
)
SELECT (SELECT greatest(1, 1000 * extract(epoch FROM wait))::bigint FROM blocking), max(quota)
    FROM workato_streams_requests WHERE name = %(name)s AND quota != %(limit)s
"""


class PostgresStore:
    """A store for several machines; the first process creates its table."""

    def __init__(self, url: StoreUrl) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        self._db = psycopg.connect(
            url.address,
            autocommit=True,
            connect_timeout=CALL_TIMEOUT_SECS,
            # Several statements at once need parameters that the client inserts.
            cursor_factory=psycopg.ClientCursor,
        )
        self._name = url.name
        self.close = self._db.close

    def take(self, limit: int, window_ms: int) -> tuple[int, int | None]:  # noqa: D102 - see Store
        window = timedelta(milliseconds=window_ms)
        arguments = {"name": self._name, "limit": limit, "window": window}
        with self._db.execute(POSTGRES_TAKE, arguments) as results:
            while results.nextset():
                pass
            [[wait_ms, other_limit]] = results.fetchall()
        return wait_ms or 0, other_limit


# The store of each scheme of ``quota_url``.
STORES: dict[str, Callable[[StoreUrl], Store]] = {
    "file": FileStore,
    "redis": RedisStore,
    "rediss": RedisStore,
    "postgresql": PostgresStore,
}


# With the start of the process, a store that does not respond is reported within 10 s.
STORE_TIMEOUT_SECS = 6.0
RECONNECT_SECS = 0.5
SERVER_REMEDY = "check that it is running and that quota_url is correct"
FILE_REMEDY = "check that it can be written and that no suspended process has locked it"


class SharedQuota:
    """The requests of all processes that share a quota; not thread-safe."""

    def __init__(self, url: str, max_requests: int, window_secs: float) -> None:
        self._url = StoreUrl.parse(url)
        self._limit = max_requests, round(window_secs * 1000)
        self._store: Store | None = None
        self._close_store: Callable[[], object] = lambda: None
        self._was_connected = False
        self._has_warned = False
        self._results: SimpleQueue[float | Exception] = SimpleQueue()
        self._stopped = False

    def take(self) -> float:
        """Count a request and return 0.0, or return the seconds to wait before the next try.

        Raises ``QuotaStoreError`` if the store is unusable for ``STORE_TIMEOUT_SECS``, and
        ``Stopped`` after ``stop``.
        """
        # In a separate thread, since name resolution, a suspended server and a file lock can block
        # without a time limit.
        results: SimpleQueue[float | Exception] = SimpleQueue()
        self._results = results
        if self._stopped:
            raise Stopped("the run is being stopped")
        deadline = time.monotonic() + STORE_TIMEOUT_SECS
        threading.Thread(
            target=lambda: results.put(self._retry(deadline)), name="quota store", daemon=True
        ).start()
        try:
            result = results.get(timeout=STORE_TIMEOUT_SECS)
        except Empty:
            result = TimeoutError("no response")
        if isinstance(result, Stopped):
            raise result
        if isinstance(result, Exception):
            reason = self._url.redact(f"{type(result).__name__}: {result}")
            # Without the original exception, which may quote the password.
            raise QuotaStoreError(
                f"quota_url: cannot use the quota store {self._url} ({reason}); "
                f"{FILE_REMEDY if self._url.scheme == 'file' else SERVER_REMEDY}"
            ) from None
        return result

    def stop(self) -> None:
        """Wake the thread that waits for the store."""
        self._stopped = True
        self._results.put(Stopped("the run is being stopped"))

    def close(self) -> None:
        """Close the connection to the store; the next request opens a new one."""
        self._store = None
        with contextlib.suppress(Exception):
            self._close_store()

    def _retry(self, deadline: float) -> float | Exception:
        """Retry failed operations if the store worked before, since a server may be restarted."""
        while True:
            try:
                return self._take()
            except Exception as exc:  # noqa: BLE001 - of any of three libraries
                self.close()
                if not self._was_connected or time.monotonic() + RECONNECT_SECS > deadline:
                    return exc
            time.sleep(RECONNECT_SECS)

    def _take(self) -> float:
        if self._store is None:
            self._store = STORES[self._url.scheme](self._url)
            # At the latest when the process exits, since a thread may use the store until then.
            self._close_store = weakref.finalize(self, self._store.close)
        wait_ms, other_limit = self._store.take(*self._limit)
        self._was_connected = True
        if other_limit is not None and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "quota_url: other requests were counted with max_requests_per_minute %d, those of "
                "this process with %d; processes with a lower value wait for the others, so set "
                "the same value in all of them",
                other_limit,
                self._limit[0],
            )
        # Without a random delay, the same process would be the first each time.
        return wait_ms / 1000 + random.uniform(0, 0.02) if wait_ms else 0.0  # noqa: S311 - no secret


# A minute and a second, because requests that are sent a minute apart may arrive closer together.
WINDOW_SECS = 61.0


class LocalQuota:
    """The requests of one process; not thread-safe."""

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._sent: deque[float] = deque(maxlen=max_requests)

    def take(self) -> float:
        """Count a request and return 0.0, or return the seconds to wait before the next try."""
        now = time.monotonic()
        if len(self._sent) == self._max_requests and self._sent[0] > now - WINDOW_SECS:
            return self._sent[0] + WINDOW_SECS - now
        self._sent.append(now)
        return 0.0
