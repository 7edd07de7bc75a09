"""Random histories of a target that remembers rows: sources, faults and kills, night after night.

The rule, its store, the look-up and the checkpoints are the project's own classes; the service, the
sources and the sender are simple ones. `python -m tests.search.published_rows 5000 7` plays 5,000
histories of each kind with SQLite, and a twentieth of them with PostgreSQL, which is slower; it
prints a table for each.

wrong   nights after which the topic, read to its end, differs from the source
untrue  states that were emitted before a record that they cover was in the topic
twice   messages of a row in succession with the same content
"""

from __future__ import annotations

import itertools
import logging
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast

from target_workato_streams.delivery.checkpoints import CheckpointTracker
from target_workato_streams.delivery.published_rows import MemorySettings, PublishedRows
from target_workato_streams.delivery.records import PublishResult
from target_workato_streams.delivery.store import SqliteStore, Store, StoreError, open_store
from target_workato_streams.delivery.topic_reader import TopicReader
from target_workato_streams.event_streams.consume import (
    ConsumeClient,
    Cursor,
    CursorExpired,
    Message,
    Messages,
)
from target_workato_streams.event_streams.errors import RequestRejected
from target_workato_streams.message_key import RowVersion
from target_workato_streams.publishing.batches import BatchBuilder, BatchSettings
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.singer_messages import Record, Stream

from tests.tools.demo.warehouse import warehouse

Faults = Mapping[str, float]
FAULTS: dict[str, Faults] = {
    "none": {},
    "kills": {"kill": 0.04},
    "lost responses": {"lost": 0.3},
    "partial failures": {"partial": 0.3},
    "entries without a result": {"unknown": 0.2},
    "kills, lost, partial, unknown": {"kill": 0.03, "lost": 0.2, "partial": 0.1, "unknown": 0.1},
    "readable late, kills, lost": {"late": 1, "kill": 0.03, "lost": 0.2},
    "position rejected, kills, lost": {"reject": 0.5, "kill": 0.03, "lost": 0.2},
    "older or no state, kills": {"state": 1, "kill": 0.03},
    "messages expire, kills, lost": {"expiry": 1, "kill": 0.03, "lost": 0.2},
    "store deleted, kills": {"deleted": 1, "kill": 0.03},
}
CHECKED = ("wrong", "untrue", "twice")
SOURCES = ("incremental", "full table", "log")
ROWS, CONTENTS, BATCH = 8, "abc", 4
EPOCH = datetime(2026, 1, 1, tzinfo=timezone.utc)
SCHEMA = Stream("orders", ("id",))


class Killed(Exception):
    """The process was killed."""


@dataclass
class World:
    """What outlives a run: the topic, the source, the store and the states."""

    kind: str
    chance: random.Random
    store: str  # its URL, with {} for the number of stores that were deleted
    stores: int = 0
    messages: list[tuple[int, str, float]] = field(default_factory=list)  # with the time readable
    start: int = 0  # the earliest message that is kept
    now: float = 0.0  # in seconds
    log: list[tuple[int, str]] = field(default_factory=list)
    states: list[int] = field(default_factory=lambda: [0])
    found: Counter[str] = field(default_factory=Counter)

    def change(self) -> None:
        """Change a row of the source."""
        row, content = self.chance.randrange(ROWS), self.chance.choice(CONTENTS)
        if self.rows.get(row, (0, ""))[1] != content:
            self.log.append((row, content))

    @property
    def rows(self) -> dict[int, tuple[int, str]]:
        """The number of the last change, and the content, of each row."""
        return {row: (number, content) for number, (row, content) in enumerate(self.log, 1)}

    def records(self, state: int) -> Iterator[tuple[int, str] | int]:
        """Yield rows and states as a tap of this kind does that resumes from a state."""
        if self.kind == "full table":
            yield from ((row, content) for row, (_, content) in sorted(self.rows.items()))
            yield 0
            return
        changes = [
            (at, row, content) for at, (row, content) in enumerate(self.log, 1) if at > state
        ]
        if self.kind == "incremental":  # the row of the bookmark comes again
            changes = sorted((at, r, c) for r, (at, c) in self.rows.items() if at >= state)
        for number, (at, row, content) in enumerate(changes, 1):
            yield row, content
            if number % 3 == 0 or number == len(changes):
                yield at


class Client:
    """Consumes the topic of a world."""

    def __init__(self, world: World, faults: Faults, step: Callable[[], None]) -> None:
        self.requests = 0
        self._world, self._faults, self._step = world, faults, step
        self._given: set[int] = set()  # messages that this run has read

    def now(self) -> datetime:
        """The time of the service."""
        return EPOCH + timedelta(seconds=self._world.now)

    def consume(
        self,
        cursor: Cursor,
        *,
        batch_size: int,  # noqa: ARG002 - smaller pages find more
        timeout_secs: int = 0,
        published_at: datetime | None = None,  # noqa: ARG002 - a rejected cursor is final here
    ) -> Messages:
        """Return a page of two messages."""
        self.requests += 1
        self._step()
        world = self._world
        world.now += timeout_secs
        at = world.start
        if cursor.after_message_id is not None:
            at = int(cursor.after_message_id[1:]) + 1
            rejected = world.chance.random() < self._faults.get("reject", 0)
            if at <= world.start or (rejected and at - 1 not in self._given):
                cause = RequestRejected("rejected", status=404, reason="not found")
                raise CursorExpired(cause, datetime.now(timezone.utc), [])
        page: list[Message] = []
        for number in range(at, len(world.messages)):
            row, content, readable = world.messages[number]
            if readable > world.now or len(page) == 2:  # none behind one that is not readable
                break
            payload = b'{"message_key":"%b"}' % version(row, content).key.encode()
            self._given.add(number)
            page.append(Message(f"m{number}", cast("Any", payload), None))
        return Messages(page, date=self.now())


def version(row: int, content: str) -> RowVersion:
    """The version of a row."""
    return RowVersion(f"{row + 1:032x}", f"{ord(content):032x}")


def add_steps(store: Store, step: Callable[[], None]) -> None:
    """Let the process be killed before and after each transaction."""

    def stepping(transaction: Callable[..., None]) -> Callable[..., None]:
        def stepped(*args: object, **kwargs: object) -> None:
            step()
            transaction(*args, **kwargs)
            step()

        return stepped

    for name in ("add_in_doubt", "settle"):
        setattr(store, name, stepping(getattr(store, name)))


class Run:
    """One run of the target."""

    def __init__(self, world: World, faults: Faults, *, reads: bool) -> None:
        self._world, self._faults = world, faults
        store = self.store = open_store(world.store.format(world.stores))
        if isinstance(store, SqliteStore):
            store._db.execute("PRAGMA synchronous = OFF")  # noqa: SLF001 - no power failure here
        add_steps(store, self.step)
        client = cast("ConsumeClient", Client(world, faults, self.step))

        def open_reader(_: int, label: str) -> TopicReader:
            return TopicReader(client, label, "message_key")

        settings = MemorySettings(
            store, "host", "message_key", None, open_reader if reads else None
        )
        self._rows: PublishedRows[OutgoingMessage] = PublishedRows(11, settings)
        self._builder = BatchBuilder(BatchSettings(BATCH), self._rows.batch_key)
        self._checkpoints = CheckpointTracker()
        self._emitted: list[tuple[int, str]] = []

    def step(self) -> None:
        """Let time pass, and perhaps be killed."""
        self._world.now += 0.2
        if self._world.chance.random() < self._faults.get("kill", 0):
            raise Killed

    def play(self) -> None:
        """Read the source to its end, and publish what has changed."""
        self._open()
        chunk: list[OutgoingMessage] = []
        covered = []
        for sequence, item in enumerate(self._world.records(self._world.states[-1]), 1):
            if isinstance(item, int):
                self._checkpoints.add_state(b"%d" % item)
                covered.append(len(self._emitted))
                self._compare(chunk)
                self._emit()
                continue
            self._emitted.append(item)
            message = OutgoingMessage(b"{}", Record(SCHEMA, b"{}", 1), sequence, version(*item))
            self._checkpoints.add_record(sequence)
            chunk.append(message)
            if len(chunk) == 3:
                self._compare(chunk)
        self._compare(chunk)
        self._send(self._builder.pop_batch())
        self._emit()
        assert self._checkpoints.unsettled == 0

    def _open(self) -> None:
        try:
            self._rows.open("orders (topic 11)", lambda work: work())
        except StoreError as exc:
            if "another run" not in str(exc):
                raise
            # PostgreSQL frees the locks of a connection shortly after it was closed.
            time.sleep(0.01)
            self._open()

    def _compare(self, chunk: list[OutgoingMessage]) -> None:
        wanted, unchanged = self._rows.select(chunk)
        chunk.clear()
        self._checkpoints.settle([each.sequence for each in unchanged])
        for message in wanted:
            for batch in self._builder.add(message, 0.0):
                self._send(batch)

    def _emit(self) -> None:
        if (state := self._checkpoints.pop_state()) is None:
            return
        self._world.states.append(int(state))
        in_topic = {(row, content) for row, content, _ in self._world.messages}
        if self._checkpoints.unsettled == 0:
            self._world.found["untrue"] += any(each not in in_topic for each in self._emitted)

    def _send(self, batch: list[OutgoingMessage]) -> None:
        pending = [batch] if batch else []
        while pending:
            request = pending.pop()
            missing = self._rows.missing(request)
            retried: list[OutgoingMessage] = []
            if missing:
                result = self._publish([*missing])
                if result is None:
                    self._rows.on_lost(missing, is_throttled=False)
                    pending.append(request)
                    continue
                unknown = [missing[index] for index in result.unknown]
                if unknown:
                    self._rows.on_lost(unknown, is_throttled=False)
                if not self._rows.on_response(missing, result):
                    pending.append(request)
                    continue
                retried = [missing[index] for index in result.failed]
                pending += [each for each in (retried, unknown) if each]
                retried = [*retried, *unknown]
            done = [each for each in request if each not in retried]
            self._checkpoints.settle([each.sequence for each in self._rows.settle(done)])

    def _publish(self, messages: list[OutgoingMessage]) -> PublishResult | None:
        world, chance, faults = self._world, self._world.chance, self._faults
        self.step()
        lost = chance.random() < faults.get("lost", 0)
        if lost and chance.random() < 0.5:  # the request was not applied
            return None
        failed: dict[int, str] = {}
        unknown, last = [], None
        for index, message in enumerate(messages):
            if chance.random() < faults.get("partial", 0):
                failed[index] = "temporarily"
                continue
            hidden = chance.random() < faults.get("unknown", 0)
            if hidden:
                unknown.append(index)
            if not hidden or chance.random() < 0.5:
                row = int(message.version.row, 16) - 1
                delay = chance.random() * 4 if "late" in faults else 0.0
                content = chr(int(message.version.content, 16))
                world.messages.append((row, content, world.now + delay))
                if not hidden:
                    last = f"m{len(world.messages) - 1}"
        self.step()  # killed after the service has stored the messages
        return None if lost else PublishResult(failed, unknown, last, None)


def history(kind: str, faults: Faults, seed: int, store: str, *, reads: bool) -> Counter[str]:
    """Play some nights, each with interrupted runs and a complete one; return what was found."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    world = World(kind, chance, store)
    for _ in range(ROWS):
        world.change()
    for _ in range(chance.randrange(2, 5)):
        world.found["nights"] += 1
        for _ in range(chance.randrange(0, 3) if "kill" in faults else 0):
            _run(world, faults, reads=reads)
            for _ in range(chance.randrange(0, 4)):
                world.change()
        if "state" in faults:
            world.states.append(chance.choice([*world.states, 0]))
        if "deleted" in faults and chance.random() < 0.3:
            world.stores += 1
        if "expiry" in faults and chance.random() < 0.3:
            world.start = chance.randrange(world.start, len(world.messages) + 1)
        _run(world, {name: rate for name, rate in faults.items() if name != "kill"}, reads=reads)
        world.now += 10
        last = {row: content for row, content, _ in world.messages}
        source = {row: content for row, (_, content) in world.rows.items()}
        world.found["wrong"] += last != source
        for _ in range(chance.randrange(0, 5)):
            world.change()
    previous: dict[int, str] = {}
    for row, content, _ in world.messages:
        world.found["twice"] += previous.get(row) == content
        previous[row] = content
    world.found["messages"] = len(world.messages)
    return world.found


def _run(world: World, faults: Faults, *, reads: bool) -> None:
    run = Run(world, faults, reads=reads)
    try:
        run.play()
    except Killed:
        pass
    finally:
        run.store.close()


def main() -> None:
    """Print a table of the histories with each store."""
    logging.disable()
    histories, seed = (int(each) for each in [*sys.argv[1:], "1000", "1"][:2])
    columns = "wrong untrue  twice"
    with (
        tempfile.TemporaryDirectory() as folder,
        tempfile.TemporaryDirectory(dir="/dev/shm") as files,
        warehouse(Path(folder, "data")) as database,
    ):
        database.execute(
            "ALTER ROLE postgres SET synchronous_commit = off"
        )  # no power failure here
        for name, store, count in (
            ("SQLite", f"file://{files}/{{}}.db", histories),
            ("PostgreSQL", f"{database.uri}?name={{}}", max(1, histories // 20)),
        ):
            print(f"{name:47} nights messages  {columns} | without reading: {columns}")  # noqa: T201
            for kind, fault in itertools.product(SOURCES, FAULTS):
                totals: list[Counter[str]] = [Counter(), Counter()]
                for number, reads in itertools.product(range(count), (True, False)):
                    label = f"{kind[:3]}{list(FAULTS).index(fault)}_{number}_{reads:d}_{{}}"
                    url = store.format(label)
                    each = seed * 1_000_003 + number
                    totals[not reads] += history(kind, FAULTS[fault], each, url, reads=reads)
                    for path in Path(files).iterdir():
                        path.unlink()
                a, b = totals
                with_, without = (" ".join(f"{t[each]:6}" for each in CHECKED) for t in (a, b))
                first = f"{kind:14} {fault:32} {a['nights']:6} {a['messages']:8}"
                print(f"{first} {with_} | {'':15}{without}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
