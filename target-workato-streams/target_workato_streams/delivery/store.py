"""The store of published rows: the content of each row's last message, in SQLite or PostgreSQL.

It has a number for each topic, by which its rows are stored. All hashes are 32 hexadecimal digits.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from typing_extensions import override

from ..event_streams.errors import EventStreamsError
from ..event_streams.quota import CALL_TIMEOUT_SECS, StoreUrl

VERSION = 1  # of the tables
# SQLite limits the number of parameters of a statement.
SELECTED_ROWS = 500
HASH = re.compile("[0-9a-f]{32}")

# Both databases understand these statements. Only rows on their way are in doubt.
TABLES = """
CREATE TABLE workato_streams_topics (
    number {serial}, name text NOT NULL, host text NOT NULL, topic_id bigint NOT NULL,
    is_known integer NOT NULL DEFAULT 0, message_id text, message_time text, day integer,
    UNIQUE (name, host, topic_id));
CREATE TABLE workato_streams_in_doubt (
    topic integer NOT NULL, key {hash} NOT NULL, content {hash} NOT NULL, key_field text NOT NULL,
    PRIMARY KEY (topic, key));
CREATE TABLE workato_streams_rows (
    key {hash} NOT NULL, content {hash} NOT NULL, topic integer NOT NULL, day smallint{rows};
"""
ADD_IN_DOUBT = """
INSERT INTO workato_streams_in_doubt SELECT {values} ON CONFLICT (topic, key)
DO UPDATE SET content = excluded.content, key_field = excluded.key_field
"""
SET_POSITION = """
UPDATE workato_streams_topics SET is_known = 1, message_id = ?, message_time = ? WHERE number = ?
"""


class Position(NamedTuple):
    """The last message of a topic that was acknowledged or read; or a time if there is none."""

    message_id: str | None
    time: str | None = None  # by the service's clock; None if unknown


class InDoubt(NamedTuple):
    """What a request contained whose outcome is unknown, because its run was killed."""

    content: str
    key_field: str  # the setting `message_key_field` with which it was published; may be empty


class StoredTopic(NamedTuple):
    """What a store knows of a topic when a run starts."""

    number: int
    is_known: bool  # whether an earlier run has read it or published to it
    position: Position
    in_doubt: Mapping[str, InDoubt]  # by row


class StoreError(EventStreamsError):
    """The store of published rows cannot be used."""


class Store:
    """A connection to a store; thread-safe. All methods raise `StoreError` if it cannot be used."""

    remedy: str
    # The statements that change many rows; their parameters are the topic and lists of values.
    bulk: ClassVar[Mapping[str, str]]

    def __init__(self, url: StoreUrl) -> None:
        self._url = url
        self._lock = threading.RLock()
        with self._errors():
            self._connect()

    def create(self) -> None:
        """Create the tables if they don't exist."""
        with self._errors(), self._transaction(exclusive=True):
            self._create()

    def open_topic(self, host: str, topic_id: int, label: str, days: int | None) -> StoredTopic:
        """Lock a topic for this process, and forget rows that have not come for so many days.

        The days count up to the last run. `StoreError` if another process has locked it.
        """
        columns = (self._url.name, host, topic_id)
        with self._errors(), self._transaction():
            self._run(
                "INSERT INTO workato_streams_topics (name, host, topic_id) VALUES (?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                *columns,
            )
            [(number, is_known, message_id, message_time, day)] = self._run(
                "SELECT number, is_known, message_id, message_time, day"
                " FROM workato_streams_topics WHERE name = ? AND host = ? AND topic_id = ?",
                *columns,
            )
            if not self._lock_topic(number):
                raise StoreError(
                    f"{label}: another run publishes to this topic with the same "
                    "published_rows_url; run again when it has ended"
                )
            if days is not None and day is None:  # it has not been counted when rows came
                self._run(
                    "UPDATE workato_streams_rows SET day = ? WHERE topic = ?", today(), number
                )
            elif days is not None:
                forget = "DELETE FROM workato_streams_rows WHERE topic = ? AND day < ?"
                self._run(forget, number, day - days)
            day = None if days is None else today()
            self._run("UPDATE workato_streams_topics SET day = ? WHERE number = ?", day, number)
            select = "SELECT key, content, key_field FROM workato_streams_in_doubt WHERE topic = ?"
            doubts = {
                _hex(row[0]): InDoubt(_hex(row[1]), row[2]) for row in self._run(select, number)
            }
        return StoredTopic(number, bool(is_known), Position(message_id, message_time), doubts)

    def find(self, host: str, topic_id: int) -> int | None:
        """Return the number of a topic, without locking it, if the store has it."""
        select = "SELECT number FROM workato_streams_topics WHERE name = ? AND host = ?"
        try:
            with self._lock:
                rows = self._run(f"{select} AND topic_id = ?", self._url.name, host, topic_id)
        except self._library_error:  # without tables, the store is new
            return None
        return rows[0][0] if rows else None

    def contents(self, topic: int, rows: Sequence[str]) -> dict[str, tuple[str, int | None]]:
        """Return the remembered content of rows, and the last day that was counted."""
        found = {}
        with self._errors(), self._lock:
            for at in range(0, len(rows), SELECTED_ROWS):
                for key, content, day in self._select(topic, rows[at : at + SELECTED_ROWS]):
                    found[_hex(key)] = _hex(content), day
        return found

    def touch(self, topic: int, rows: Sequence[str]) -> None:
        """Count that unchanged rows came today."""
        with self._errors(), self._transaction():
            self._bulk("touch", topic, [(today(), key) for key in rows])

    def add_in_doubt(self, topic: int, contents: Mapping[str, str], key_field: str) -> None:
        """Remember which rows are on their way, before the request."""
        with self._errors(), self._transaction():
            doubts = [(key, content, key_field) for key, content in contents.items()]
            self._bulk("add_in_doubt", topic, doubts)

    def settle(
        self,
        topic: int,
        contents: Mapping[str, str],
        position: Position | None,
        *,
        settled: Iterable[str] = (),
        forgotten: Iterable[str] = (),
    ) -> None:
        """Remember contents and a position; forget rows.

        Those rows and the `settled` ones, which keep their content, are no longer in doubt.
        """
        day = today()  # only used with `published_rows_days`
        gone = [(key,) for key in forgotten]
        certain = [*((key,) for key in {*contents, *settled}), *gone]
        with self._errors(), self._transaction():
            self._bulk("forget", topic, gone)
            self._bulk("remember", topic, [(key, each, day) for key, each in contents.items()])
            self._bulk("end_doubt", topic, certain)
            if position is not None:
                self._run(SET_POSITION, *position, topic)

    def forget_all(self, topic: int) -> int:
        """Forget all rows of a topic, but not where it has been read; return their number."""
        with self._errors(), self._transaction():
            count = "SELECT count(*) FROM workato_streams_rows WHERE topic = ?"
            [(rows,)] = self._run(count, topic)
            for table in ("rows", "in_doubt"):
                self._run(f"DELETE FROM workato_streams_{table} WHERE topic = ?", topic)  # noqa: S608
        return int(rows)

    def topics(self, host: str) -> list[int]:
        """Return the ids of the topics of a host."""
        select = "SELECT topic_id FROM workato_streams_topics WHERE name = ? AND host = ?"
        with self._errors(), self._lock:
            return [topic_id for (topic_id,) in self._run(select, self._url.name, host)]

    def close(self) -> None:
        """Close the connection, which frees the locks."""
        with self._lock:
            self._db.close()

    _db: Any
    _library_error: type[Exception]

    def _connect(self) -> None:
        raise NotImplementedError

    def _create(self) -> None:
        """Create the tables; `StoreError` if they are of another version."""
        self._run("CREATE TABLE IF NOT EXISTS workato_streams_version (version integer NOT NULL)")
        [(version,)] = self._run("SELECT max(version) FROM workato_streams_version")
        if version is None:
            for statement in self._tables().split(";")[:-1]:
                self._run(statement)
            self._run("INSERT INTO workato_streams_version VALUES (?)", VERSION)
        elif version != VERSION:
            raise StoreError(
                f"published_rows_url: {self._url} has tables of version {version}, and this is a "
                f"connector for version {VERSION}; use the version that has created it, or another "
                "published_rows_url"
            )

    def _tables(self) -> str:
        raise NotImplementedError

    def _run(self, sql: str, *values: object) -> list[Any]:
        raise NotImplementedError

    def _bulk(self, name: str, topic: int, rows: Sequence[Sequence[object]]) -> None:
        raise NotImplementedError

    def _select(self, topic: int, rows: Sequence[str]) -> list[Any]:
        raise NotImplementedError

    def _lock_topic(self, topic: int) -> bool:
        raise NotImplementedError

    @contextmanager
    def _transaction(self, *, exclusive: bool = False) -> Iterator[None]:
        raise NotImplementedError

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Raise `StoreError` with the reason and the remedy instead of the library's exception."""
        try:
            yield
        except (self._library_error, OSError) as exc:
            reason = self._url.redact(f"{type(exc).__name__}: {exc}")
            # Without the original exception, which may quote the password.
            raise StoreError(
                f"published_rows_url: cannot use {self._url} ({reason}); {self.remedy}"
            ) from None


class SqliteStore(Store):
    """A store in a file, for the processes of one machine."""

    remedy = (
        "check that the file and its folder can be written and that the disk has space; move away "
        "a file that is damaged or of another program"
    )
    bulk: ClassVar[Mapping[str, str]] = {
        "add_in_doubt": ADD_IN_DOUBT.format(values="?, ?, ?, ? WHERE true"),
        "remember": "INSERT INTO workato_streams_rows (topic, key, content, day)"
        " VALUES (?, ?, ?, ?)"
        " ON CONFLICT DO UPDATE SET content = excluded.content, day = excluded.day",
        "touch": "UPDATE workato_streams_rows SET day = ?2 WHERE topic = ?1 AND key = ?3",
        "forget": "DELETE FROM workato_streams_rows WHERE topic = ? AND key = ?",
        "end_doubt": "DELETE FROM workato_streams_in_doubt WHERE topic = ? AND key = ?",
    }

    @override
    def _connect(self) -> None:
        import sqlite3  # noqa: PLC0415 - only with this store

        self._library_error = sqlite3.Error
        path = self._url.path
        self._db = sqlite3.connect(
            path, CALL_TIMEOUT_SECS, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._stat = path.stat()
        self._locks = Path(f"{path}.topics.lock").open("a")  # noqa: SIM115 - until close()

    @override
    def _tables(self) -> str:
        # Without an index beside the table, a row takes about 45 bytes.
        rows = ", PRIMARY KEY (topic, key)) WITHOUT ROWID"
        return TABLES.format(serial="integer PRIMARY KEY", hash="blob", rows=rows)

    @override
    def _run(self, sql: str, *values: object) -> list[Any]:
        return list(self._db.execute(sql, values))

    @override
    def _bulk(self, name: str, topic: int, rows: Sequence[Sequence[object]]) -> None:
        self._db.executemany(self.bulk[name], [(topic, *map(_blob, row)) for row in rows])

    @override
    def _select(self, topic: int, rows: Sequence[str]) -> list[Any]:
        marks = ",".join("?" * len(rows))
        select = "SELECT key, content, day FROM workato_streams_rows WHERE topic = ?"
        keys = map(bytes.fromhex, rows)
        return self._run(f"{select} AND key IN ({marks})", topic, *keys)

    @override
    def _lock_topic(self, topic: int) -> bool:
        try:
            # One byte of the file for each topic.
            fcntl.lockf(self._locks, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, topic)
        except BlockingIOError:
            return False
        return True

    @override
    @contextmanager
    def _transaction(self, *, exclusive: bool = False) -> Iterator[None]:
        with self._lock:
            # Otherwise, what is remembered would be gone with the file that was replaced.
            if not os.path.samestat(self._url.path.stat(), self._stat):
                raise StoreError(
                    f"published_rows_url: {self._url} was replaced by another file during the run; "
                    "run again"
                )
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    @override
    def close(self) -> None:
        super().close()
        self._locks.close()


class PostgresStore(Store):
    """A store in PostgreSQL, for several machines. Its lock ends with the connection."""

    remedy = "check that the server is running and that published_rows_url is correct"
    bulk: ClassVar[Mapping[str, str]] = {
        "add_in_doubt": ADD_IN_DOUBT.format(
            values="%s, * FROM unnest(%s::uuid[], %s::uuid[], %s::text[])"
        ),
        # A hash index takes half of the space of a unique one. Only the process that has locked
        # the topic adds rows.
        "remember": """
            WITH new AS (
                SELECT %s AS topic, * FROM unnest(%s::uuid[], %s::uuid[], %s::smallint[])
                    AS rows (key, content, day)
            ), known AS (
                UPDATE workato_streams_rows rows SET content = new.content, day = new.day FROM new
                WHERE rows.key = new.key AND rows.topic = new.topic RETURNING rows.key
            )
            INSERT INTO workato_streams_rows (topic, key, content, day)
                SELECT * FROM new WHERE key NOT IN (SELECT key FROM known)""",
        "touch": "WITH came AS (SELECT %s::integer AS topic, * FROM"
        " unnest(%s::smallint[], %s::uuid[]) AS came (day, key))"
        " UPDATE workato_streams_rows rows SET day = came.day FROM came"
        " WHERE rows.topic = came.topic AND rows.key = came.key",
        "forget": "DELETE FROM workato_streams_rows WHERE topic = %s AND key = ANY(%s::uuid[])",
        "end_doubt": "DELETE FROM workato_streams_in_doubt"
        " WHERE topic = %s AND key = ANY(%s::uuid[])",
    }

    @override
    def _connect(self) -> None:
        import psycopg  # noqa: PLC0415 - an extra

        self._library_error = psycopg.Error
        self._db = psycopg.connect(
            self._url.address, autocommit=True, connect_timeout=CALL_TIMEOUT_SECS
        )

    @override
    def _tables(self) -> str:
        index = "CREATE INDEX ON workato_streams_rows USING hash (key)"
        serial = "serial PRIMARY KEY"
        return TABLES.format(serial=serial, hash="uuid", rows=f"); {index}")

    @override
    def _run(self, sql: str, *values: object) -> list[Any]:
        cursor = self._db.execute(sql.replace("?", "%s"), values)
        # In a pipeline, only a fetch waits for the results.
        return cursor.fetchall() if sql.lstrip().startswith("SELECT") else []

    @override
    def _bulk(self, name: str, topic: int, rows: Sequence[Sequence[object]]) -> None:
        if rows:
            columns = [list(column) for column in zip(*rows, strict=True)]
            self._db.execute(self.bulk[name], (topic, *columns))

    @override
    def _select(self, topic: int, rows: Sequence[str]) -> list[Any]:
        select = "SELECT key, content, day FROM workato_streams_rows WHERE topic = ?"
        return self._run(f"{select} AND key = ANY(?::uuid[])", topic, list(rows))

    @override
    def _lock_topic(self, topic: int) -> bool:
        lock = "SELECT pg_try_advisory_lock(hashtext('workato_streams_rows'), ?)"
        return bool(self._run(lock, topic)[0][0])

    @override
    @contextmanager
    def _transaction(self, *, exclusive: bool = False) -> Iterator[None]:
        # In a pipeline, the statements of a transaction take one round trip.
        with self._lock, self._db.pipeline(), self._db.transaction():
            if exclusive:
                self._run("SELECT pg_advisory_xact_lock(hashtext('workato_streams_rows'))")
            yield


def _connected(url: str) -> Store:
    """Connect to the store of a URL that was checked, without creating tables."""
    parsed = StoreUrl.parse(url)
    return SqliteStore(parsed) if parsed.scheme == "file" else PostgresStore(parsed)


def open_store(url: str) -> Store:
    """Connect to the store of a URL that was checked; raises `StoreError`."""
    store = _connected(url)
    store.create()
    return store


def look_into_store(url: str) -> Store | None:
    """Connect to a store as `open_store` does, for a dry run, which must not create a file."""
    parsed = StoreUrl.parse(url)
    return None if parsed.scheme == "file" and not parsed.path.exists() else _connected(url)


def today() -> int:
    """Return the number of the day since 1970, which fits into two bytes."""
    return int(time.time()) // 86_400


def _hex(value: bytes | UUID) -> str:
    return value.hex if isinstance(value, UUID) else value.hex()


def _blob(value: object) -> object:
    return bytes.fromhex(value) if isinstance(value, str) and HASH.fullmatch(value) else value
