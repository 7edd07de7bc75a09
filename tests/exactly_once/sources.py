"""Simulated taps: logs, incremental tables and snapshots, with and without keys."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.exactly_once.service import REJECTED

if TYPE_CHECKING:
    import random

KEYED = {"log", "incremental", "snapshot"}
LOGS = {"log", "keyless log"}


@dataclass(frozen=True)
class Row:
    """A record of the source: a version of a row, and the number of its update."""

    stream: str
    row: str
    version: str
    update: int = 0

    @property
    def key(self) -> tuple[str, str]:
        """The row, or the content if the stream has no keys."""
        return self.stream, self.row or self.version


@dataclass
class Snapshot:
    """What the topics must contain once a state has been emitted.

    Attributes:
        state: The tap's own bookmarks.
        needed: The minimum number of messages with each content without a key.
        newest: The version of each row that has been delivered in this run.
        at: The number of the state, starting at 1; 0 for an empty state.
    """

    state: dict[str, int] = field(default_factory=dict)
    needed: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest: dict[tuple[str, str], str] = field(default_factory=dict)
    at: int = 0


@dataclass
class Source:
    """The streams of one pipeline.

    Args:
        rng: The random numbers of the history.
        kinds: The kind of each stream by its name.
        rows: The number of rows of a keyed stream.
        versions: The number of contents.
        equal_events: Whether a log may repeat a version.
        rejected: Whether a log contains records that the service rejects.
        update_in_content: Whether the content of an incremental row contains its time of update.
        changes_while_read: The probability that a row of a table changes after it was read, and is
            read once more in the same run.
    """

    rng: random.Random
    kinds: dict[str, str]
    rows: int = 3
    versions: int = 3
    equal_events: bool = False
    rejected: bool = False
    update_in_content: bool = False
    changes_while_read: float = 0.0
    events: list[Row] = field(default_factory=list)
    tables: dict[str, list[Row]] = field(default_factory=dict)
    clock: int = 0
    snapshots: dict[int, Snapshot] = field(default_factory=dict)
    # The states whose bookmark is an update: each of them delivers it once more.
    delivered_again: dict[tuple[str, int], set[int]] = field(default_factory=dict)

    @property
    def is_log(self) -> bool:
        """Whether all streams are in one log."""
        return set(self.kinds.values()) <= LOGS

    def change(self, times: int) -> None:
        """Change the source at random."""
        for _ in range(times):
            stream = self.rng.choice(list(self.kinds))
            if self.is_log:
                self._append(stream)
            elif self.kinds[stream] in KEYED:
                self._update(stream)
            else:
                self._add_or_remove(stream)

    def lines(self, stored: dict[str, Any], resumed: Snapshot, run: int) -> list[bytes]:
        """Return the lines of the tap in a run.

        Args:
            stored: The stored state, which the tap is given.
            resumed: What that state covers.
            run: The number of the run.
        """
        writer = _Writer(self, stored, resumed, run)
        return writer.log() if self.is_log else writer.tables()

    def _append(self, stream: str) -> None:
        version = self.rng.choice("abcdef"[: self.versions])
        if self.kinds[stream] == "keyless log":
            self.events.append(Row(stream, "", version))
            return
        row = str(self.rng.randrange(self.rows))
        if self.rejected and self.rng.random() < 0.15:
            self.events.append(Row(stream, row, REJECTED))
            return
        last = [e.version for e in self.events if e.key == (stream, row)][-1:]
        if last != [version] or (self.equal_events and self.rng.random() < 0.5):
            self.events.append(Row(stream, row, version))

    def _update(self, stream: str) -> None:
        row = str(self.rng.randrange(self.rows))
        if self.rng.random() < 0.2:
            table = self.tables.setdefault(stream, [])
            self.tables[stream] = [each for each in table if each.row != row]
        else:
            self.update_row(stream, row)

    def update_row(self, stream: str, row: str) -> Row:
        """Change a row to another version, chosen at random, and return it."""
        table = self.tables.setdefault(stream, [])
        old = [each.version.partition("@")[0] for each in table if each.row == row]
        version = self.rng.choice([v for v in "abcdef"[: self.versions] if v not in old])
        self.clock += 1
        content = f"{version}@{self.clock}" if self.update_in_content else version
        new = Row(stream, row, content, self.clock)
        self.tables[stream] = [each for each in table if each.row != row] + [new]
        return new

    def _add_or_remove(self, stream: str) -> None:
        table = self.tables.setdefault(stream, [])
        self.clock += self.rng.random() < 0.8
        if self.rng.random() < 0.2 and table:
            table.pop(self.rng.randrange(len(table)))
        else:
            version = self.rng.choice("abcdef"[: self.versions])
            table.append(Row(stream, "", version, self.clock))


class _Writer:
    """Writes the Singer lines of one run, and records what each of its states covers."""

    def __init__(self, source: Source, stored: dict[str, Any], resumed: Snapshot, run: int) -> None:
        self._source = source
        self._rng = source.rng
        self._stored = stored
        self._resumed = resumed
        self._run = run
        self._needed = Counter(resumed.needed)
        self._newest: dict[tuple[str, str], str] = {}
        # SDK taps emit the state that they were given, before any record.
        self._lines = [_line(type="STATE", value=stored)]
        for stream, kind in source.kinds.items():
            schema = {"type": "object", "properties": {"v": {"type": "string"}}}
            keys = ["id"] if kind in KEYED else []
            self._lines.append(
                _line(type="SCHEMA", stream=stream, schema=schema, key_properties=keys)
            )

    def log(self) -> list[bytes]:
        """Return the events after the bookmark."""
        events = self._source.events
        for number in range(self._resumed.state.get("offset", 0), len(events)):
            self._record(events[number])
            if self._rng.random() < 0.3 or number == len(events) - 1:
                self._state({"offset": number + 1})
        return self._lines

    def tables(self) -> list[bytes]:
        """Return one stream after another, as SDK taps do."""
        state = dict(self._resumed.state)
        for stream, kind in self._source.kinds.items():
            rows = list(self._source.tables.get(stream, []))
            self._rng.shuffle(rows)
            incremental = kind.endswith("incremental")
            if incremental:
                bookmark = state.get(stream, -1)
                rows = sorted((r for r in rows if r.update >= bookmark), key=lambda r: r.update)
                self._count_again(stream, bookmark)
            for number, row in enumerate(rows):
                self._record(row)
                if kind in KEYED and self._rng.random() < self._source.changes_while_read:
                    # The tap reads its page again, or a later page contains the update.
                    rows.append(self._source.update_row(stream, row.row))
                if self._rng.random() < 0.3 or number == len(rows) - 1:
                    if incremental:
                        state[stream] = row.update
                    self._state(dict(state))
        return self._lines

    def _count_again(self, stream: str, bookmark: int) -> None:
        if self._resumed.at:
            again = self._source.delivered_again.setdefault((stream, bookmark), set())
            again.add(self._resumed.at)

    def _record(self, row: Row) -> None:
        fields = {"s": row.stream, "v": row.version, "_sdc_update": row.update}
        if row.row:
            fields["id"] = row.row
            self._newest[row.key] = row.version
        else:
            self._needed[row.key] += 1
        self._lines.append(_line(type="RECORD", stream=row.stream, record=fields))

    def _state(self, state: dict[str, int]) -> None:
        at = len(self._source.snapshots) + 1
        self._source.snapshots[at] = Snapshot(state, Counter(self._needed), dict(self._newest), at)
        bookmarks = {**self._stored.get("bookmarks", {}), "source": {"at": at}}
        self._lines.append(_line(type="STATE", value={"bookmarks": bookmarks}))


def _line(**message: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(message).encode() + b"\n"
