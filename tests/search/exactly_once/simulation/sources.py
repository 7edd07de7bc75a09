"""Simulated taps: logs, incremental tables and snapshots, with and without keys."""

import random
from collections.abc import Iterator, Mapping

from tests.search.exactly_once.simulation.world import REJECTED, Options, Record

# The state of a tap: an offset in the log, or the last update of each stream.
Bookmarks = Mapping[str, int]
OFFSET = "offset"
KEYED = frozenset({"log", "incremental", "snapshot"})
INCREMENTAL = frozenset({"incremental", "keyless incremental"})


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
        self._updates = 0
        self._newest: dict[tuple[str, str], str] = {}

    def change(self, times: int) -> None:
        """Change the source at random."""
        for _ in range(times):
            stream = self._rng.choice(list(self.kinds))
            if self.is_log:
                self._append(stream)
            elif self.kinds[stream] in KEYED:
                self._update(stream)
            else:
                self._add_or_remove(stream)

    def lines(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        """Yield what the tap emits: the bookmarks that it was given, records and bookmarks."""
        yield dict(bookmarks)
        if self._options.has_offset_per_stream:
            yield from self._interleaved(bookmarks)
        elif self.is_log:
            yield from self._logged(bookmarks)
        else:
            yield from self._tables(bookmarks)

    def covered(self, bookmarks: Bookmarks) -> Iterator[Record]:
        """Return the events that bookmarks cover, except those that the service rejects."""
        for number, event in enumerate(self.events):
            name = event.stream if self._options.has_offset_per_stream else OFFSET
            if number < bookmarks.get(name, 0) and event.content != REJECTED:
                yield event

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
        start = bookmarks.get(OFFSET, 0)
        for number, event in enumerate(self.events[start:], start + 1):
            yield event
            if self._rng.random() < self._options.states or number == len(self.events):
                yield {OFFSET: number}

    def _interleaved(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        queues: dict[str, list[Record]] = {stream: [] for stream in self.kinds}
        for number, event in enumerate(self.events):
            if number >= bookmarks.get(event.stream, 0):
                queues[event.stream].append(event)
        offsets = dict(bookmarks)
        stream = ""
        while left := [name for name, queue in queues.items() if queue]:
            if stream not in left or self._rng.random() > self._options.burst:
                stream = self._rng.choice(left)
            event = queues[stream].pop(0)
            offsets[stream] = event.update + 1
            yield event
            if self._rng.random() < self._options.states or not any(queues.values()):
                yield dict(offsets)

    def _tables(self, bookmarks: Bookmarks) -> Iterator[Record | Bookmarks]:
        """Emit one stream after another, as SDK taps do."""
        state = dict(bookmarks)
        for stream, kind in self.kinds.items():
            rows = list(self.tables[stream])
            self._rng.shuffle(rows)
            if kind in INCREMENTAL:
                # The row of the bookmark is emitted again.
                rows = [row for row in rows if row.update >= bookmarks.get(stream, -1)]
                rows.sort(key=lambda row: row.update)
            elif self._options.newest_first:
                rows.sort(key=lambda row: -row.update)
            for number, row in enumerate(rows, 1):
                yield row
                if kind in INCREMENTAL:
                    state[stream] = row.update
                    if self._rng.random() < self._options.states:
                        yield dict(state)
                if number == len(rows):
                    yield dict(state)

    def _row(self) -> str:
        return str(self._rng.randrange(self._options.rows))

    def _content(self) -> str:
        return "abcdefgh"[self._rng.randrange(self._options.versions)]
