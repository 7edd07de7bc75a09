"""Simulated taps: logs, and tables that are read as the Meltano SDK reads them."""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from target_workato_streams.delivery.positions import PROGRESS_MARKERS, STARTING

from tests.search.exactly_once.simulation.world import REJECTED, Options, Record

Bookmarks = Mapping[str, Any]
OFFSET = "offset"
VALUE = "replication_key_value"
KEYED = frozenset({"log", "incremental", "unsorted", "full table", "snapshot"})
INCREMENTAL = frozenset({"incremental", "unsorted", "keyless incremental"})


class Source:
    """The streams of one tap: either all of them are logs, which have events, or none.

    With `has_offset_per_stream`, each stream is a log of its own, such as a topic that is mirrored,
    instead of all streams in one log.
    """

    def __init__(self, rng: random.Random, kinds: Mapping[str, str], options: Options) -> None:
        self.kinds = kinds
        self.events: list[Record] = []
        self.tables: dict[str, list[Record]] = {stream: [] for stream in kinds}
        self.is_log = all(kind.endswith("log") for kind in kinds.values())
        self._rng = rng
        self._options = options
        self._updates = 1
        self._changing = list(kinds)
        self._newest: dict[tuple[str, str], str] = {}

    def change(self, times: int) -> None:
        """Change the source at random."""
        for _ in range(times):
            stream = self._rng.choice(self._changing)
            if self.is_log:
                self._append(stream)
            elif self.kinds[stream] in KEYED:
                self._update(stream)
            else:
                self._add_or_remove(stream)
        if self._options.no_news:
            self._changing = self._changing[:1]

    def lines(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        """Yield what the tap emits, starting with the bookmarks that it was given."""
        if not self.is_log:
            yield from self._tables(bookmarks)
            return
        yield bookmarks
        interleaved = self._options.has_offset_per_stream
        logged = self._interleaved(bookmarks) if interleaved else self._logged(bookmarks)
        for line in logged:
            yield line if isinstance(line, Record) else {**bookmarks, **line}

    def covered(self, bookmarks: Bookmarks) -> Iterator[Record]:
        """Return the events that bookmarks cover, except those that the service rejects."""
        for number, event in enumerate(self.events):
            name = event.stream if self._options.has_offset_per_stream else "log"
            if number < _offset(bookmarks, name) and event.content != REJECTED:
                yield event

    def passes_by(self, record: Record, bookmarks: Bookmarks) -> bool:
        """Whether a tap with these bookmarks does not emit a record of a table again."""
        reached = bookmarks.get(record.stream, {}).get(VALUE)
        is_incremental = self.kinds[record.stream] in INCREMENTAL
        return is_incremental and reached is not None and record.update < reached

    def _append(self, stream: str) -> None:
        content = self._content()
        update = len(self.events)
        if self.kinds[stream] not in KEYED:
            self.events.append(Record(stream, content, "", update, is_keyed=False))
            return
        row = self._row()
        if self._options.rejected_records and self._rng.random() < 0.15:
            content = REJECTED
        may_repeat = self._options.equal_events and self._rng.random() < 0.5
        if content == REJECTED or self._newest.get((stream, row)) != content or may_repeat:
            self._newest[stream, row] = content
            self.events.append(Record(stream, row, content, update, is_keyed=True))

    def _update(self, stream: str) -> None:
        row, content = self._row(), self._content()
        old = [each for each in self.tables[stream] if each.row == row]
        others = [each for each in self.tables[stream] if each.row != row]
        if self._rng.random() < 0.2:
            self.tables[stream] = others
        elif not old or old[0].content != content:
            self._updates += 1
            self.tables[stream] = [
                *others,
                Record(stream, row, content, self._updates, is_keyed=True),
            ]

    def _add_or_remove(self, stream: str) -> None:
        table = self.tables[stream]
        # Several rows may have the same time of update.
        self._updates += self._rng.random() < 0.8
        if table and self._rng.random() < 0.2:
            table.pop(self._rng.randrange(len(table)))
        else:
            table.append(Record(stream, self._content(), "", self._updates, is_keyed=False))

    def _logged(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        start = _offset(bookmarks, "log")
        for number, event in enumerate(self.events[start:], start + 1):
            yield event
            if self._rng.random() < self._options.states or number == len(self.events):
                yield {"log": {OFFSET: number}}

    def _interleaved(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        queues: dict[str, list[Record]] = {stream: [] for stream in self.kinds}
        for number, event in enumerate(self.events):
            if number >= _offset(bookmarks, event.stream):
                queues[event.stream].append(event)
        offsets = {}
        stream = ""
        while left := [name for name, queue in queues.items() if queue]:
            if stream not in left or self._rng.random() > self._options.burst:
                stream = self._rng.choice(left)
            event = queues[stream].pop(0)
            offsets[stream] = {OFFSET: event.update + 1}
            yield event
            if self._rng.random() < self._options.states or not any(queues.values()):
                yield dict(offsets)

    def _tables(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        """Emit the lines of SDK 0.54: `Tap.sync_all`, `Stream._sync_records` and `StateWriter`."""
        # An empty bookmark is not returned.
        state = {name: dict(each) for name, each in bookmarks.items() if each}
        for bookmark in state.values():
            bookmark.pop(PROGRESS_MARKERS, None)
        frequency = max(1, round(1 / self._options.states))
        written = _copy(state)
        if state:
            yield written
        for stream, kind in self.kinds.items():
            if kind in INCREMENTAL:
                bookmark = state.setdefault(stream, {})
                bookmark[STARTING] = bookmark.get(VALUE)
            rows = self._rows(stream, state.get(stream, {}).get(VALUE, 0))
            for number, row in enumerate(rows, 1):
                yield row
                if kind == "unsorted":
                    before = state[stream].get(PROGRESS_MARKERS, {VALUE: 0})[VALUE]
                    state[stream][PROGRESS_MARKERS] = {VALUE: max(before, row.update)}
                elif kind in INCREMENTAL:
                    state[stream][VALUE] = row.update
                state.setdefault(stream, {})
                if number % frequency == 0 and state != written:
                    written = _copy(state)
                    yield written
            bookmark = state.setdefault(stream, {})
            bookmark.pop(STARTING, None)
            bookmark.update(bookmark.pop(PROGRESS_MARKERS, {}))
            # A state that is equal to the last one is not written.
            if state != written:
                written = _copy(state)
                yield written

    def _rows(self, stream: str, start: int) -> list[Record]:
        """Return the rows of a table, or from that of the bookmark on."""
        rows = list(self.tables[stream])
        self._rng.shuffle(rows)
        kind = self.kinds[stream]
        if kind in INCREMENTAL:
            rows = [row for row in rows if row.update >= start]
            if kind != "unsorted":
                rows.sort(key=lambda row: row.update)
        elif kind == "full table":
            rows.sort(key=lambda row: int(row.row))
        elif self._options.newest_first:
            rows.sort(key=lambda row: -row.update)
        return rows

    def _row(self) -> str:
        return str(self._rng.randrange(self._options.rows))

    def _content(self) -> str:
        return "abcdefgh"[self._rng.randrange(self._options.versions)]


def _offset(bookmarks: Bookmarks, name: str) -> int:
    offset: int = bookmarks.get(name, {}).get(OFFSET, 0)
    return offset


def _copy(state: Bookmarks) -> Bookmarks:
    return {name: dict(bookmark) for name, bookmark in state.items()}
