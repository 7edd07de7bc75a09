"""The checks: A, nothing is lost; B, nothing is duplicated; C, states are true."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from tests.search.exactly_once.simulation.sources import Bookmarks, Source
from tests.search.exactly_once.simulation.world import REJECTED, Record

Key = tuple[str, str]
Row = tuple[str, str, int | None]
Violation = tuple[str, str]


class Promise(NamedTuple):
    """What the topics contain once a state has been emitted.

    `needed` counts the messages of each row without a key, at least; `newest` is the last message
    of each row with a key that this run has emitted.
    """

    bookmarks: Bookmarks
    needed: Counter[Key]
    newest: Mapping[Key, str]


def of_state(source: Source, records: Iterable[Record], promise: Promise) -> Iterator[Violation]:
    """Check a state when it is emitted, with the messages of the topics by then (C)."""
    topics = _contents(records)
    if source.is_log:
        covered = [each for each in source.covered(promise.bookmarks) if each.is_keyed]
        for key, wanted in _contents(covered).items():
            if not _is_subsequence(wanted, topics[key]):
                yield "C", f"{promise.bookmarks}: {key} is {wanted}, in the topic {topics[key]}"
    else:
        for key, content in promise.newest.items():
            if topics[key][-1:] != [content]:
                yield "C", f"{promise.bookmarks}: {key} is {content}, in the topic {topics[key]}"
    for key, count in promise.needed.items():
        if len(topics[key]) < count:
            yield "C", f"{promise.bookmarks}: {count} of {key}, in the topic {len(topics[key])}"


def emissions(lines: Iterable[Record | Bookmarks]) -> Counter[Row]:
    """Count what one run of a tap emits, of a row with a key each update once."""
    counts = Counter(_row(line) for line in lines if isinstance(line, Record))
    return Counter({row: count if row[2] is None else 1 for row, count in counts.items()})


def at_the_end(
    source: Source, records: Sequence[Record], emitted: Mapping[Row, int]
) -> Iterator[Violation]:
    """Check the topics after the last run (A, B).

    The tap has emitted each row as often as `emitted` says, from each state at most once.
    """
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
