"""A quota that is shared by processes on several machines through PostgreSQL."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
from pyrate_limiter import PostgresBucket
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyrate_limiter import Rate

    from .quota_stores import QuotaUrl

CONNECT_TIMEOUT_SECS = 5


class SingleConnection:
    """A replacement for the connection pool that pyrate-limiter expects, without threads.

    It reports a failed connection immediately, whereas a pool would retry in the background.
    """

    def __init__(self, address: str) -> None:
        self._connection = psycopg.connect(
            address,
            autocommit=True,
            connect_timeout=CONNECT_TIMEOUT_SECS,
            # A connection pooler may give each transaction another session.
            prepare_threshold=None,
        )

    @property
    def closed(self) -> bool:
        """Whether the connection has been closed."""
        return self._connection.closed

    @contextmanager
    def connection(self) -> Iterator[psycopg.Connection]:
        """Run the block in a transaction.

        The bucket's timestamps have no time zone, so all sessions must use the same one.
        """
        try:
            self._connection.execute("BEGIN; SET LOCAL TIME ZONE 'UTC'")
            yield self._connection
            self._connection.commit()
        except BaseException:
            self._connection.rollback()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


class ServerTimePostgresBucket(PostgresBucket):
    """pyrate-limiter's PostgreSQL bucket, which counts by the server's clock only.

    The original falls back to the client's clock if the server does not respond.
    """

    @override
    def now(self) -> int:
        with self.pool.connection() as connection:
            query = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"
            [[now]] = connection.execute(query).fetchall()
        return int(now)


def open_bucket(url: QuotaUrl, rate: Rate) -> ServerTimePostgresBucket:
    """Connect to the server, and create the table if it does not exist.

    Raises:
        psycopg.Error: The server cannot be reached, or does not allow the login or the table.
    """
    return ServerTimePostgresBucket(SingleConnection(url.address), url.name, [rate])
