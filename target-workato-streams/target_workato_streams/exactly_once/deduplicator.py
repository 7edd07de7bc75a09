"""The rule of `exactly_once`: which records are published, and which states are emitted.

Pure: it does no input or output and has no clock. For the main thread only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..message_key import RowVersion
    from .positions import Position

# Found messages that match no record hold back states for this time after the last match. Their
# rows may have been deleted, so waiting forever would mean that no state is emitted.
HOLD_SECS = 600.0


class Versioned(Protocol):
    """A record that is to be published."""

    @property
    def version(self) -> RowVersion:
        """The version of its row."""

    @property
    def sequence(self) -> int:
        """Its position in the input; higher for later records."""


R = TypeVar("R", bound=Versioned)


@dataclass
class PositionedState:
    """A state, and the positions up to which the topics are covered by it.

    Attributes:
        state: The value of the STATE message.
        sequence: The sequence number of the last record before it.
        unsettled: The number of published records before it that have no outcome.
        positions: The positions by topic id.
    """

    state: bytes
    sequence: int
    unsettled: int
    positions: dict[int, Position]


class Matches(NamedTuple):
    """The messages of a stream that look-ups have found, and those that records have matched."""

    topic_id: int
    found: int
    matched: int


class Deduplicator(Generic[R]):
    """Matches the records of a run with the messages that their topics already contain.

    At most one STATE at a time is the checkpoint. Its positions only move with the outcomes of
    records before it, and no batch contains records on both sides of it. So the messages up to a
    position are covered by the state, and the messages after it are not, in each topic by itself.

    Args:
        hold_secs: See `HOLD_SECS`.
    """

    def __init__(self, hold_secs: float = HOLD_SECS) -> None:
        self._hold_secs = hold_secs
        self._positions: dict[int, Position] = {}
        # The contents of the messages that no record covers yet, in topic order, by topic and row.
        self._found: dict[tuple[int, str], list[str]] = {}
        # Records whose topic has a later version of their row, to which the source may have gone
        # back; by topic and row.
        self._kept: dict[tuple[int, str], R] = {}
        self._read = self._unsettled = 0
        self._last: PositionedState | None = None
        self._checkpoint: PositionedState | None = None
        self._emitted: PositionedState | None = None
        # Matches are timed by the STATE that follows, so that a record needs no clock.
        self._has_matched = False
        self._matched_at = self._state_at = 0.0
        self._total: Counter[tuple[int, str]] = Counter()
        self._matched: Counter[tuple[int, str]] = Counter()

    def restore(self, positions: Mapping[int, Position]) -> None:
        """Take the positions of a state that the tap returns.

        A topic that has already been read keeps its position, which is a later one.
        """
        self._positions = {**positions, **self._positions}

    def position(self, topic_id: int) -> Position | None:
        """Return the position after which to look up a topic before its first record.

        None means that only the end of the topic has to be found.
        """
        return self._positions.get(topic_id)

    def look_up(
        self, topic_id: int, end: Position, versions: Iterable[RowVersion] = ()
    ) -> PositionedState | None:
        """Take the result of a look-up.

        Args:
            topic_id: The topic.
            end: The last message that was read.
            versions: The versions after the topic's position, in topic order.

        Returns:
            The last emitted state if it had no position for this topic. It has to be emitted again
            before the first publish; otherwise, nothing shows the next run where to look.
        """
        is_new = topic_id not in self._positions
        self._positions[topic_id] = end
        for version in versions:
            self._found.setdefault((topic_id, version.row), []).append(version.content)
            self._total[topic_id, version.stream] += 1
            self._has_matched = True
        if not is_new:
            return None
        for state in (self._checkpoint, self._emitted):
            if state is not None:
                state.positions[topic_id] = end
        return self._emitted

    def wants(self, topic_id: int, record: R) -> bool:
        """Decide whether a record has to be published.

        Returns:
            True if it has to be published, and its outcome passed to `settle`. False if its topic
            contains it; then it counts as acknowledged, or `finish` returns it.
        """
        self._read = record.sequence
        version = record.version
        row = topic_id, version.row
        found = self._found.pop(row, [])
        self._kept.pop(row, None)
        if version.content not in found:
            self._unsettled += 1
            return True
        covered = found.index(version.content) + 1
        self._matched[topic_id, version.stream] += covered
        self._has_matched = True
        if later := found[covered:]:
            self._found[row] = later
            if later[-1] != version.content:
                self._kept[row] = record
        return False

    def settle(self, topic_id: int, records: Sequence[R], position: Position | None) -> None:
        """Take the outcome of published records, which are on one side of the checkpoint.

        Args:
            topic_id: The topic.
            records: The records.
            position: The topic's last message that was acknowledged or read; None if the records
                were rejected.
        """
        self._unsettled -= len(records)
        if position is not None:
            self._positions[topic_id] = position
        checkpoint = self._checkpoint
        if checkpoint is not None and records[-1].sequence <= checkpoint.sequence:
            checkpoint.unsettled -= len(records)
            if position is not None:
                checkpoint.positions[topic_id] = position

    def take_state(self, state: bytes, now: float) -> None:
        """Take the value of a STATE message.

        It becomes the checkpoint unless there is one, or states are held back. Other states are
        ignored, because a later one covers their records, too.

        Args:
            state: The value.
            now: The time in seconds on any clock.
        """
        self._state_at = now
        if self._has_matched:
            self._has_matched, self._matched_at = False, now
        self._last = self._covering(state)
        if self._checkpoint is None and not self.holds_back_states:
            self._checkpoint = self._last

    @property
    def cut(self) -> int:
        """The sequence number that no batch may span: the last record before the checkpoint."""
        return self._checkpoint.sequence if self._checkpoint else 0

    @property
    def holds_back_states(self) -> bool:
        """Whether found messages are not covered yet, so that the next run has to find them."""
        is_recent = self._has_matched or self._state_at - self._matched_at <= self._hold_secs
        return bool(self._kept) or (bool(self._found) and is_recent)

    def take_checkpoint(self) -> PositionedState | None:
        """Return the checkpoint if it has to be emitted now; call after each outcome and STATE."""
        done = self._checkpoint
        if done is None or done.unsettled:
            return None
        self._emitted, self._checkpoint = done, None
        last = self._last
        if last is not None and last is not done and last.sequence == self._read:
            # No later STATE may come for hours.
            last = self._covering(last.state)
            if not self.holds_back_states:
                self._checkpoint = self._last = last
        return done

    def finish(self) -> list[tuple[int, R]]:
        """End an input whose last line was a STATE, which shows that it is complete.

        Returns:
            The records that were kept, with their topics, in input order. They have to be
            published now, and their outcomes passed to `settle`.
        """
        kept = sorted(
            ((topic_id, record) for (topic_id, _), record in self._kept.items()),
            key=lambda each: each[1].sequence,
        )
        self._kept.clear()
        self._found.clear()
        self._unsettled += len(kept)
        return kept

    def take_last(self) -> PositionedState | None:
        """Return the last state after `finish`; None if it does not cover all records."""
        if self._last is None or self._last.sequence != self._read or self._unsettled:
            return None
        return self._covering(self._last.state)

    @property
    def matches(self) -> Sequence[Matches]:
        """The numbers of matches of each stream of which look-ups have found messages."""
        return [Matches(key[0], found, self._matched[key]) for key, found in self._total.items()]

    def _covering(self, state: bytes) -> PositionedState:
        """Combine a state that covers all records so far with the positions of this moment."""
        return PositionedState(state, self._read, self._unsettled, dict(self._positions))
