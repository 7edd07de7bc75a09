"""Checks of the topics, after each state and at the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.exactly_once.service import REJECTED
from tests.exactly_once.sources import KEYED, Row

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.exactly_once.service import Service
    from tests.exactly_once.sources import Snapshot, Source


def is_subsequence(part: Sequence[str], whole: Sequence[str]) -> bool:
    """Whether the whole contains all elements of a part, in order."""
    rest = iter(whole)
    return all(any(each == other for other in rest) for each in part)


class Topics:
    """The messages in the topics, by stream and row."""

    def __init__(self, service: Service, source: Source) -> None:
        self._source = source
        self.versions: dict[tuple[str, str], list[str]] = {}
        self.updates: Counter[tuple[tuple[str, str], int]] = Counter()
        for stream in source.kinds:
            for message in service.of_stream(stream):
                key = Row(stream, message.row, message.version).key
                self.versions.setdefault(key, []).append(message.version)
                self.updates[key, message.update] += 1

    def of(self, key: tuple[str, str]) -> list[str]:
        """Return the versions of a row, in topic order."""
        return self.versions.get(key, [])

    def events(self, until: int | None = None) -> dict[tuple[str, str], list[str]]:
        """Return the versions of each row that a log contains and the service accepts."""
        found: dict[tuple[str, str], list[str]] = {}
        for event in self._source.events[:until]:
            if event.version != REJECTED:
                found.setdefault(event.key, []).append(event.version)
        return found


def untrue(snapshot: Snapshot, service: Service, source: Source) -> Iterator[str]:
    """Yield what a state covers but the topics do not contain."""
    topics = Topics(service, source)
    if source.is_log:
        for key, versions in topics.events(snapshot.state.get("offset", 0)).items():
            if source.kinds[key[0]] in KEYED and not is_subsequence(versions, topics.of(key)):
                yield f"{snapshot.state}: {key} has {versions}, the topic {topics.of(key)}"
    else:
        for key, version in snapshot.newest.items():
            # The topic may already contain a later version of the same run.
            first = 0 if source.changes_while_read else -1
            if version not in topics.of(key)[first:]:
                yield f"{snapshot.state}: {key} is {version}, the topic ends {topics.of(key)}"
    for key, count in snapshot.needed.items():
        if len(topics.of(key)) < count:
            yield f"{snapshot.state}: {count} of {key}, the topic has {len(topics.of(key))}"


def wrong_at_the_end(service: Service, source: Source, *, exact: bool) -> Iterator[str]:
    """Yield what is lost, duplicated or out of order after the last run.

    Args:
        service: The topics.
        source: The records that they should contain.
        exact: Whether duplicates are errors.
    """
    topics = Topics(service, source)
    if source.is_log:
        yield from _wrong_log(topics, source, exact=exact)
    else:
        yield from _wrong_tables(topics, source, exact=exact)


def _wrong_log(topics: Topics, source: Source, *, exact: bool) -> Iterator[str]:
    events = topics.events()
    for key in events.keys() | topics.versions.keys():
        wanted, found = events.get(key, []), topics.of(key)
        complete = is_subsequence(wanted, found)
        if source.kinds[key[0]] in KEYED:
            complete = complete and wanted[-1:] == found[-1:]
        if (wanted != found) if exact else not complete:
            yield f"{key}: {wanted} in the log, {found} in the topic"


def _wrong_tables(topics: Topics, source: Source, *, exact: bool) -> Iterator[str]:
    for stream, kind in source.kinds.items():
        for row in source.tables.get(stream, []):
            if kind in KEYED and topics.of(row.key)[-1:] != [row.version]:
                yield f"{row.key} is {row.version}, the topic ends {topics.of(row.key)}"
    if not exact:
        return
    for (key, update), count in topics.updates.items():
        if source.kinds[key[0]] == "incremental":
            again = len(source.delivered_again.get((key[0], update), ()))
            if count > 1 + again:
                yield f"{key}, update {update}: {count} times, {1 + again} delivered"
