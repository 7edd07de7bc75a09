"""The checks: A, nothing is lost; B, nothing is duplicated; C, states are true."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from target_workato_streams.delivery.positions import BOOKMARK

from tests.search.exactly_once.simulation.sources import (
    INCREMENTAL,
    VALUE,
    Bookmarks,
    Source,
)
from tests.search.exactly_once.simulation.world import REJECTED, Record

Key = tuple[str, str]
Row = tuple[str, str, int | None]
Violation = tuple[str, str]
# A table that is read as a whole has the run after which the pass began, an incremental one its
# bookmark; the row of the bookmark is emitted in each run.
Pass = tuple[str, int | None, int | None]


class Promise(NamedTuple):
    """What the topics contain once a state of the tap has been emitted, or at the end of a run.

    Attributes:
        bookmarks: The state's.
        finished: The streams of which no record follows in this run.
        needed: How many messages of each row without a key there are, at least.
        newest: The last message of each row with a key that the run has emitted by then. Of a
            state, rows of tables that the tap emits again are left out.
    """

    bookmarks: Bookmarks
    finished: Iterable[str] = ()
    needed: Mapping[Key, int] = MappingProxyType({})
    newest: Mapping[Key, str] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class State:
    """An emitted state.

    The tap emits each row once per pass. A pass over a table that is read as a whole ends when a
    state has new positions after the tap has finished it: `passes` are the runs of these states.
    """

    bookmarks: Bookmarks = field(default_factory=dict)
    needed: Mapping[Key, int] = field(default_factory=dict)
    passes: Mapping[str, int] = field(default_factory=dict)

    def then(self, bookmarks: Bookmarks, promise: Promise, run: int) -> "State":
        """Return the state that is emitted next in a run."""
        passes = self.passes
        if bookmarks.get(BOOKMARK) != self.bookmarks.get(BOOKMARK):
            passes = {**passes, **dict.fromkeys(promise.finished, run)}
        return State(bookmarks, promise.needed, passes)


class Emissions:
    """Counts how often the tap has emitted each row, over all passes and runs."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._of_pass: dict[Pass, Counter[Row]] = defaultdict(Counter)

    def add(self, state: State, run: int, records: Iterable[Record]) -> None:
        """Add what a run from a state emits, of a row with a key each update once."""
        counts: dict[Pass, Counter[Row]] = defaultdict(Counter)
        for record in records:
            stream, row = record.stream, _row(record)
            since = state.passes.get(stream)
            if self._source.kinds[stream] in INCREMENTAL:
                since = state.bookmarks.get(stream, {}).get(VALUE)
            count = counts[stream, since, run if record.update == since else None]
            count[row] = 1 if record.is_keyed else count[row] + 1
        for each, count in counts.items():
            self._of_pass[each] |= count

    def total(self) -> Counter[Row]:
        """Return the count of each row."""
        return sum(self._of_pass.values(), Counter())


def promises(
    source: Source, state: State, lines: Sequence[Record | Bookmarks]
) -> Iterator[Record | Promise]:
    """Replace the states of a run by what they promise."""
    emitted: list[Record] = []
    for index, line in enumerate(lines):
        if isinstance(line, Record):
            emitted.append(line)
            yield line
            continue
        covered = [each for each in emitted if source.is_log or source.passes_by(each, line)]
        needed, newest = _counted(state.needed, covered)
        yield Promise(line, finished(source, lines[index:]), needed, newest)


def promise_of_run(lines: Sequence[Record | Bookmarks]) -> Promise:
    """Return what the topics contain after a complete run."""
    states = [line for line in lines if not isinstance(line, Record)]
    records = [line for line in lines if isinstance(line, Record)]
    return Promise(states[-1], (), *_counted({}, records))


def finished(source: Source, following: Iterable[Record | Bookmarks]) -> set[str]:
    """Return the streams of which no record follows."""
    return source.kinds.keys() - {each.stream for each in following if isinstance(each, Record)}


def broken(source: Source, records: Iterable[Record], promise: Promise) -> Iterator[str]:
    """Yield what a promise says that is not true of the topics, when it is made."""
    topics = _contents(records)
    if source.is_log:
        covered = [each for each in source.covered(promise.bookmarks) if each.is_keyed]
        for key, wanted in _contents(covered).items():
            if not _is_subsequence(wanted, topics[key]):
                yield f"{key} is {wanted}, in the topic {topics[key]}"
    else:
        for key, content in promise.newest.items():
            if topics[key][-1:] != [content]:
                yield f"{key} is {content}, in the topic {topics[key]}"
    for key, count in promise.needed.items():
        if len(topics[key]) < count:
            yield f"{count} of {key}, in the topic {len(topics[key])}"


def at_the_end(
    source: Source, records: Sequence[Record], emitted: Mapping[Row, int]
) -> Iterator[Violation]:
    """Check the topics after the last run (A, B), with how often the tap has emitted each row."""
    topics = _contents(records)
    if source.is_log:
        yield from _wrong_log(source, topics)
        return
    for table in source.tables.values():
        for row in table:
            if row.is_keyed and topics[row.key][-1:] != [row.content]:
                yield "A", f"{row.key} is {row.content}, in the topic {topics[row.key]}"
    for key, count in Counter(map(_row, records)).items():
        if count > emitted.get(key, 0):
            yield "B", f"{key} is {count} times in the topic, emitted {emitted.get(key, 0)} times"


def _row(record: Record) -> Row:
    return (*record.key, record.update if record.is_keyed else None)


def _counted(
    needed: Mapping[Key, int], records: Iterable[Record]
) -> tuple[Counter[Key], dict[Key, str]]:
    counts, newest = Counter(needed), {}
    for record in records:
        if record.is_keyed:
            newest[record.key] = record.content
        else:
            counts[record.key] += 1
    return counts, newest


def _wrong_log(source: Source, topics: Mapping[Key, list[str]]) -> Iterator[Violation]:
    events = [event for event in source.events if event.content != REJECTED]
    keyed = {event.key for event in events if event.is_keyed}
    for key, wanted in _contents(events).items():
        found = topics[key]
        is_lost = len(found) < len(wanted)
        if key in keyed:
            is_lost = not _is_subsequence(wanted, found) or found[-1] != wanted[-1]
        if is_lost or len(found) > len(wanted):
            yield "A" if is_lost else "B", f"{key}: {wanted} in the log, {found} in the topic"


def _contents(records: Iterable[Record]) -> dict[Key, list[str]]:
    """Return the contents of each row, in order."""
    found: dict[Key, list[str]] = defaultdict(list)
    for record in records:
        found[record.key].append(record.content)
    return found


def _is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)
