"""The stores of a shared quota: a SQLite file, Redis and PostgreSQL; and the URL that names one.

Each store uses its own clock, and counts a request in one step, so a killed process leaves nothing
half done.
"""

from __future__ import annotations

import fcntl
import os
import re
import uuid
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import url2pathname

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from urllib.parse import SplitResult

DEFAULT_NAME = "workato_streams"
NAME = re.compile(r"[a-z0-9_-]{1,32}")


@dataclass(frozen=True)
class QuotaUrl:
    """A parsed ``quota_url``.

    Attributes:
        scheme: One of file, redis, rediss, postgresql.
        name: Distinguishes workspaces that share a store.
        address: The URL for the store's library; it may contain a password.
    """

    scheme: str
    name: str
    address: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> QuotaUrl:
        """Parse a URL in which ``quota_url_problems`` finds no problems."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        names = [value for key, value in query if key == "name"]
        rest = urlencode([(key, value) for key, value in query if key != "name"])
        address = urlunsplit(parts._replace(query=rest))
        return cls(parts.scheme, names[-1] if names else DEFAULT_NAME, address)

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
        """Replace the passwords of this URL in a text, such as that of a library's exception."""
        parts = urlsplit(self.address)
        passwords = [parts.password or ""]
        passwords += [value for key, value in parse_qsl(parts.query) if "password" in key]
        for password in passwords:
            for secret in filter(None, (password, unquote(password))):
                text = text.replace(secret, "***")
        return text


def quota_url_problems(url: str) -> Iterator[str]:
    """Yield the problems with a ``quota_url``, without the URL, which may contain a password."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield "not a valid URL"
        return
    if parts.scheme == "file":
        yield from _file_problems(parts)
    elif parts.scheme in {"redis", "rediss"}:
        if not parts.hostname:
            yield f"must contain the host, such as {parts.scheme}://localhost:6379/0"
    # libpq can take the host from an option or from the environment.
    elif parts.scheme != "postgresql":
        yield "must begin with file:///, redis://, rediss:// or postgresql://"
        return
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "name" and not NAME.fullmatch(value):
            yield "name must be 1 to 32 lower-case letters, digits, _ or -"


def _file_problems(parts: SplitResult) -> Iterator[str]:
    if parts.netloc not in {"", "localhost"} or not re.match("/+[^/]", parts.path):
        yield "must contain the absolute path of a file, such as file:///var/lib/meltano/quota.db"
        return
    if {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)} - {"name"}:
        yield "the only parameter of a file URL is name"
    path = Path(url2pathname(parts.path))
    try:
        if path.is_dir():
            yield f"{path} is a folder; add the name of a file"
        elif not path.parent.is_dir():
            yield f"the folder {path.parent} does not exist; create it"
    except OSError as exc:
        yield f"{path} cannot be used ({exc.strerror})"


# Shorter than the time after which a store that does not respond is reported.
CALL_TIMEOUT_SECS = 5


class Taken(NamedTuple):
    """The result of ``Store.take``.

    Attributes:
        wait_ms: 0 if the request was counted; otherwise the milliseconds after which to try again.
        other_limit: Another limit with which requests in the window were counted, if there is one.
    """

    wait_ms: int
    other_limit: int | None


class Store(Protocol):
    """A connection to a store; any exception of its library means that it cannot be used."""

    def take(self, limit: int, window_ms: int) -> Taken:
        """Count a request, unless there are ``limit`` of them in the window."""

    def close(self) -> None:
        """Close the connection."""


class FileStore:
    """A store for the processes of one machine."""

    def __init__(self, url: QuotaUrl) -> None:
        import sqlite3  # noqa: PLC0415 - only with this store

        self._path = url.path
        self._name = url.name
        self._db = sqlite3.connect(
            url.path, CALL_TIMEOUT_SECS, isolation_level=None, check_same_thread=False
        )
        # SQLite retries at increasing intervals until no other process has its lock, which is
        # unfair: the lock of the operating system has a queue.
        self._lock = Path(f"{url.path}.lock").open("a")  # noqa: SIM115 - until close()

    def take(self, limit: int, window_ms: int) -> Taken:  # noqa: D102 - see Store
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            with self._db:
                return self._take(limit, window_ms)
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def _take(self, limit: int, window_ms: int) -> Taken:
        execute, name = self._db.execute, self._name
        execute("BEGIN IMMEDIATE")
        execute("CREATE TABLE IF NOT EXISTS requests (name TEXT, at INTEGER, quota INTEGER)")
        # SQLite has no clock of its own, so that of the file system is used.
        os.utime(self._path)
        now = self._path.stat().st_mtime_ns // 1_000_000
        # A request in the future was counted before the clock was set back.
        outdated = "DELETE FROM requests WHERE name = ? AND at NOT BETWEEN ? AND ?"
        execute(outdated, (name, now - window_ms + 1, now))
        others = "SELECT max(quota) FROM requests WHERE name = ? AND quota != ?"
        [other_limit] = execute(others, (name, limit)).fetchone()
        nth = "SELECT at FROM requests WHERE name = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        if blocking := execute(nth, (name, limit - 1)).fetchone():
            return Taken(blocking[0] + window_ms - now, other_limit)
        execute("INSERT INTO requests VALUES (?, ?, ?)", (name, now, limit))
        return Taken(0, other_limit)

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

    def __init__(self, url: QuotaUrl) -> None:
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

    def take(self, limit: int, window_ms: int) -> Taken:  # noqa: D102 - see Store
        return Taken(*self._take([self._key], [limit, window_ms, uuid.uuid4().hex]))


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

    def __init__(self, url: QuotaUrl) -> None:
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

    def take(self, limit: int, window_ms: int) -> Taken:  # noqa: D102 - see Store
        window = timedelta(milliseconds=window_ms)
        arguments = {"name": self._name, "limit": limit, "window": window}
        with self._db.execute(POSTGRES_TAKE, arguments) as results:
            while results.nextset():
                pass
            [[wait_ms, other_limit]] = results.fetchall()
        return Taken(wait_ms or 0, other_limit)


# The store of each scheme of ``quota_url``.
STORES: dict[str, Callable[[QuotaUrl], Store]] = {
    "file": FileStore,
    "redis": RedisStore,
    "rediss": RedisStore,
    "postgresql": PostgresStore,
}
