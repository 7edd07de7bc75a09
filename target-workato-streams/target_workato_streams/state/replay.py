"""Matches the records that a tap repeats with the messages that a look-up has found.

After a kill, a lost state or an older state, the tap repeats records that the topic already
contains. A look-up finds their versions after the position, and this module matches the records
with them. It does no input or output.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .versions import Version


class Decision(enum.Enum):
    """What to do with a record.

    Attributes:
        PUBLISH: Publish it, and report the outcome.
        SKIP: The topic already contains it, so it counts as acknowledged.
        KEEP: The topic already contains it, but also a later version: the source may have gone back
            to this one. It is kept here until a later record of the row resolves it, or until the
            replay is over.
        WAIT: Wait until the row's previous record is acknowledged or rejected, then ask again.
    """

    PUBLISH = enum.auto()
    SKIP = enum.auto()
    KEEP = enum.auto()
    WAIT = enum.auto()


class Versioned(Protocol):
    """A record that is to be published."""

    @property
    def version(self) -> Version:
        """The version of its row."""

    @property
    def sequence(self) -> int:
        """Its position in the input; higher for later records."""


R = TypeVar("R", bound=Versioned)


class _Row(Generic[R]):
    """The versions of a row that the input has not covered yet, in topic order."""

    __slots__ = ("contents", "kept", "publishing")

    def __init__(self) -> None:
        self.contents: list[str] = []
        self.kept: R | None = None
        self.publishing = False


class _StreamReplay(Generic[R]):
    """The rows of one stream in one topic.

    Attributes:
        open: The number of messages that the input has not covered yet.
        unlisted: The number of records of all streams that were accepted since this stream's last
            record that was in a list; None before the stream's first record.
    """

    __slots__ = ("_rows", "_since", "open", "unlisted")

    def __init__(self) -> None:
        self.open = 0
        self.unlisted: int | None = None
        self._rows: dict[str, _Row[R]] = {}
        self._since = 0

    def add(self, version: Version) -> None:
        """Add a message that the look-up has found."""
        self._rows.setdefault(version.row, _Row()).contents.append(version.content)
        self.open += 1

    def decide(self, record: R) -> Decision:
        """Decide about a record of this stream."""
        if self.unlisted is None:
            self._restart_count(record.sequence - 1)
        version = record.version
        row = self._rows.get(version.row)
        if row is None:
            return Decision.PUBLISH
        if row.publishing:
            return Decision.WAIT
        if version.content not in row.contents:
            row.publishing = True
            return Decision.PUBLISH
        self._restart_count(record.sequence)
        covered = row.contents.index(version.content) + 1
        del row.contents[:covered]
        self.open -= covered
        row.kept = None
        if not row.contents:
            del self._rows[version.row]
        elif row.contents[-1] != version.content:
            row.kept = record
            return Decision.KEEP
        return Decision.SKIP

    def accept(self, record: R) -> None:
        """Count an accepted record that was in no list; it covers all versions before it."""
        row = self._rows.get(record.version.row)
        if row is not None and row.publishing:
            self.open -= len(row.contents)
            del self._rows[record.version.row]

    def reject(self, record: R) -> None:
        """Forget a rejected record that was in no list; the listed versions remain the latest."""
        row = self._rows.get(record.version.row)
        if row is not None:
            row.publishing = False

    def count(self, record: R) -> None:
        """Count an accepted record of any stream that was in no list."""
        if self.unlisted is not None and record.sequence > self._since:
            self.unlisted += 1

    def kept(self) -> list[R]:
        """The records that are kept because their rows are not resolved."""
        return [row.kept for row in self._rows.values() if row.kept is not None]

    def _restart_count(self, sequence: int) -> None:
        self._since = sequence
        self.unlisted = 0


class TopicReplay(Generic[R]):
    """The versions that a look-up has found in one topic.

    Args:
        found: The versions of our messages after the position, in topic order.
    """

    def __init__(self, found: Iterable[Version] = ()) -> None:
        self._streams: dict[str, _StreamReplay[R]] = {}
        for version in found:
            self._streams.setdefault(version.stream, _StreamReplay()).add(version)

    @property
    def open(self) -> int:
        """The number of messages that the input has not covered yet."""
        return sum(stream.open for stream in self._streams.values())

    def decide(self, record: R) -> Decision:
        """Decide about a record for this topic."""
        stream = self._streams.get(record.version.stream)
        return Decision.PUBLISH if stream is None else stream.decide(record)

    def accept(self, record: R) -> None:
        """Mark a record as acknowledged by the topic."""
        if stream := self._streams.get(record.version.stream):
            stream.accept(record)
            self._drop_if_done(record.version.stream, stream)

    def reject(self, record: R) -> None:
        """Mark a record as rejected by the topic."""
        if stream := self._streams.get(record.version.stream):
            stream.reject(record)

    def count(self, record: R) -> None:
        """Count an accepted record of any topic that was in no list."""
        for stream in self._streams.values():
            stream.count(record)

    def is_over(self, limit: int) -> bool:
        """Whether a stream has had more accepted records than `limit` since its last listed one."""
        return any((stream.unlisted or 0) > limit for stream in self._streams.values())

    def end(self, limit: int | None = None) -> list[R]:
        """Drop the lists of the streams whose replay is over.

        Args:
            limit: As for `is_over`; None drops all lists, because the input has ended.

        Returns:
            The records that were kept, in the order of the input; they must be published.
        """
        kept = []
        for name, stream in list(self._streams.items()):
            if limit is None or (stream.unlisted or 0) > limit:
                kept += stream.kept()
                del self._streams[name]
        return sorted(kept, key=lambda record: record.sequence)

    def _drop_if_done(self, name: str, stream: _StreamReplay[R]) -> None:
        if not stream.open:
            del self._streams[name]
