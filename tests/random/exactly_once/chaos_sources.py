"""The sources of `make chaos-exactly-once`: logs and tables that change between the runs."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    Bookmarks = Mapping[str, int]
    Key = tuple[str, int]


class Wrong(NamedTuple):
    """What is wrong in the topics after the last run.

    Attributes:
        lost: The rows that lack a message, or do not end with their newest version.
        duplicated: The rows with too many messages.
    """

    lost: list[str]
    duplicated: list[str]


def line(**message: Any) -> bytes:  # noqa: ANN401 - any JSON
    """Return a Singer message as a line."""
    return json.dumps(message).encode() + b"\n"


class Log:
    """Events of several streams, which the tap emits from an offset on.

    Args:
        rng: The random numbers.
        keyed: Whether each stream has a key.
        has_offset_per_stream: Whether each stream is a log of its own, like a mirrored topic; then
            one may be far ahead of another.
    """

    def __init__(
        self, rng: random.Random, keyed: Mapping[str, bool], *, has_offset_per_stream: bool
    ) -> None:
        self._rng = rng
        self._keyed = keyed
        self._has_offset_per_stream = has_offset_per_stream
        self._rows = rng.choice((3, 30, 3000))
        self._events: list[tuple[str, int, int]] = []
        self._every = rng.choice((1, 7, 50, 400))
        self.change(rng.choice((30, 300, 2000)))

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self._events)

    def change(self, count: int) -> None:
        """Append events."""
        for _ in range(count):
            stream = self._rng.choice(list(self._keyed))
            # Versions come back: a row may go from 1 to 2 and to 1 again.
            self._events.append((stream, self._rng.randrange(self._rows), self._rng.randint(1, 3)))

    def lines(self, bookmarks: Bookmarks) -> Iterator[bytes | Bookmarks]:
        """Yield RECORD lines and bookmarks."""
        offsets = dict(bookmarks)
        events = list(enumerate(self._events, 1))
        if self._has_offset_per_stream:
            events = list(self._in_bursts(offsets))
        else:
            events = events[offsets.get("log", 0) :]
        for count, (number, (stream, row, version)) in enumerate(events, 1):
            yield line(type="RECORD", stream=stream, record={"s": stream, "id": row, "v": version})
            offsets[stream if self._has_offset_per_stream else "log"] = number
            if count % self._every == 0 or count == len(events):
                yield dict(offsets)

    def wrong(self, found: Mapping[Key, Sequence[int]], _runs: int) -> Wrong:
        """Compare the versions in the topics with the log."""
        expected: dict[Key, list[int]] = {}
        for stream, row, version in self._events:
            expected.setdefault((stream, row), []).append(version)
        result = Wrong([], [])
        for key in expected.keys() | found.keys():
            wanted, have = expected.get(key, []), list(found.get(key, []))
            text = f"{key}: {wanted} in the log, {have} in the topic"
            # Records without a key have no order of their own after a partial failure.
            if self._keyed[key[0]]:
                is_lost = not _is_subsequence(wanted, have) or have[-1] != wanted[-1]
            else:
                is_lost = bool(Counter(wanted) - Counter(have))
            if is_lost:
                result.lost.append(text)
            elif len(have) > len(wanted):
                result.duplicated.append(text)
        return result

    def _in_bursts(self, offsets: Bookmarks) -> Iterator[tuple[int, tuple[str, int, int]]]:
        queues: dict[str, list[tuple[int, tuple[str, int, int]]]] = {}
        for number, event in enumerate(self._events, 1):
            if number > offsets.get(event[0], 0):
                queues.setdefault(event[0], []).append((number, event))
        while queues:
            stream = self._rng.choice(sorted(queues))
            count = self._rng.choice((1, 50, 1000))
            yield from queues[stream][:count]
            queues[stream] = queues[stream][count:]
            if not queues[stream]:
                del queues[stream]


class Table:
    """A table with a key, of which the tap emits all rows in each run, and a state at the end.

    Args:
        rng: The random numbers.
        stream: The name of the stream.
    """

    def __init__(self, rng: random.Random, stream: str) -> None:
        self._rng = rng
        self._stream = stream
        # The number of the update that made the row; the source never goes back to an older one.
        self._updates: dict[int, int] = {}
        self._count = 0
        self._is_newest_first = rng.random() < 0.5
        self.change(rng.choice((30, 300, 3000)))

    def __len__(self) -> int:
        """Return the number of updates."""
        return self._count

    def change(self, count: int) -> None:
        """Insert, update or delete rows."""
        for _ in range(count):
            self._count += 1
            chance = self._rng.random()
            row = self._rng.choice(list(self._updates)) if self._updates else 0
            if chance < 0.1:
                self._updates.pop(row, None)
            else:
                self._updates[row if chance < 0.5 else self._count] = self._count

    def lines(self, bookmarks: Bookmarks) -> Iterator[bytes | Bookmarks]:
        """Yield RECORD lines and bookmarks."""
        rows = list(self._updates.items())
        if self._is_newest_first:
            rows.sort(key=lambda row: -row[1])
        for row, update in rows:
            record = {"s": self._stream, "id": row, "v": update}
            yield line(type="RECORD", stream=self._stream, record=record)
        yield {"table": bookmarks.get("table", 0) + 1}

    def wrong(self, found: Mapping[Key, Sequence[int]], runs: int) -> Wrong:
        """Compare the rows in the topic with the table.

        Args:
            found: The updates in the topic by row.
            runs: The number of different states from which runs have started, each of which
                publishes the table once.
        """
        result = Wrong([], [])
        for row, update in self._updates.items():
            if list(found.get((self._stream, row), []))[-1:] != [update]:
                result.lost.append(f"{row}: {update} in the table, not in the topic")
        for key, updates in found.items():
            if max(Counter(updates).values()) > runs:
                result.duplicated.append(
                    f"{key}: {list(updates)} in the topic, emitted {runs} times"
                )
        return result


def _is_subsequence(part: Sequence[int], whole: Sequence[int]) -> bool:
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)
