"""The rule of `exactly_once`: which records are published, and which states are emitted.

Pure: it does no input or output and has no clock. For the main thread only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from .positions import BEGINNING, ResumePoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..message_key import RowVersion
    from .positions import Position

# Found messages that match no record hold back states for this time after the last match. Their
# rows may have been deleted, so waiting forever would mean that no state is emitted.
HOLD_SECS = 600.0
# The maximum number of found messages that a state lists instead of being held back.
MAX_LISTED = 100


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
        point: Where the tap resumes.
        uncovered: The messages before the positions that it does not cover: contents in topic
            order, by topic and row.
    """

    state: bytes
    sequence: int
    unsettled: int
    positions: dict[int, Position]
    point: ResumePoint
    uncovered: dict[tuple[int, str], list[str]]


class Matches(NamedTuple):
    """The messages of a stream that look-ups have found, and those that records have matched."""

    topic_id: int
    found: int
    matched: int


class Deduplicator(Generic[R]):
    """Matches the records of a run with the messages that their topics already contain.

    Only a STATE from which the tap resumes later than from the one before covers records. At most
    one of these at a time is the checkpoint. Its positions only move with the outcomes of records
    before it, and no batch contains records on both sides of it. So the messages up to a position
    are covered by the state, and the messages after it are not, in each topic by itself.

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
        # The newest STATE of any kind, and the newest one that is a new resume point.
        self._newest = self._last = self._covering(b"", BEGINNING)
        # The state to emit with the positions of the last emitted one, because it resumes there.
        self._restated: PositionedState | None = None
        self._start: dict[int, Position] = {}
        self._start_uncovered: dict[tuple[int, str], list[str]] = {}
        self._has_finished = False  # whether the tap has finished a stream since `_last`
        self._checkpoint: PositionedState | None = None
        self._emitted: PositionedState | None = None
        # Matches are timed by the STATE that follows, so that a record needs no clock.
        self._has_matched = False
        self._matched_at = self._state_at = 0.0
        self._total: Counter[tuple[int, str]] = Counter()
        self._matched: Counter[tuple[int, str]] = Counter()

    def restore(
        self,
        positions: Mapping[int, Position],
        uncovered: Iterable[tuple[int, RowVersion]] = (),
    ) -> None:
        """Take the positions of a state that the tap returns.

        A topic that has already been read keeps its position, which is a later one.

        Args:
            positions: The positions by topic id.
            uncovered: The messages before these that the state does not cover, in topic order.
        """
        for topic_id, version in uncovered:
            if topic_id not in self._positions:
                self._found.setdefault((topic_id, version.row), []).append(version.content)
        self._start_uncovered = self._listed()
        self._positions = {**positions, **self._positions}
        self._start = {**positions, **self._start}

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
        self._start.setdefault(topic_id, end)
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

    def take_state(self, state: bytes, now: float, point: ResumePoint | None = None) -> None:
        """Take the value of a STATE message.

        If the tap would resume where it would have resumed before, the state covers no record. Then
        it is emitted with the positions of the last emitted one, if it resumes there.

        Otherwise, it becomes the checkpoint unless there is one, or states are held back. Other
        states are ignored, because a later one covers their records, too.

        Args:
            state: The value.
            now: The time in seconds on any clock.
            point: Where the tap resumes; None if each state is a different place.
        """
        point = point or ResumePoint(state)
        self._state_at = now
        if self._has_matched:
            self._has_matched, self._matched_at = False, now
        self._has_finished |= not point.unfinished >= self._newest.point.unfinished
        self._newest = self._covering(state, point)
        is_new = (
            point.progress != self._last.point.progress
            or self._has_finished
            or self._read == self._last.sequence
        )
        if not (point.is_resumable and is_new):
            self._restate(state, point)
            return
        self._last, self._has_finished = self._newest, False
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
        return bool(self._kept) or (is_recent and bool(self._found) and not self._listed())

    def take_checkpoint(self) -> PositionedState | None:
        """Return a state that has to be emitted now; call until None after outcomes and STATEs."""
        if self._restated is not None:
            restated, self._restated = self._restated, None
            return restated
        done = self._checkpoint
        if done is None or done.unsettled:
            return None
        self._emitted, self._checkpoint = done, None
        last = self._last
        if last is not done and last.sequence == self._read:
            # No later STATE may come for hours.
            last = self._covering(last.state, last.point)
            if not self.holds_back_states:
                self._checkpoint = self._last = last
        return done

    def finish(self, *, is_complete: bool) -> list[tuple[int, R]]:
        """End the input.

        Args:
            is_complete: Whether its last line was a STATE, after which `take_last` has to be
                called. If not, the tap may have failed, or it has not written a STATE that would
                have been equal to the one before.

        Returns:
            The records that were kept, with their topics, in input order. They have to be
            published now, and their outcomes passed to `settle`. If the tap has failed, it emits
            them again in the next run, which finds them.
        """
        kept = sorted(
            ((topic_id, record) for (topic_id, _), record in self._kept.items()),
            key=lambda each: each[1].sequence,
        )
        self._kept.clear()
        if is_complete:
            self._found.clear()
        self._unsettled += len(kept)
        return kept

    def take_last(self) -> PositionedState | None:
        """Return the last state after `finish`; None if it does not cover all records.

        Its stream may have ended although the state is no new resume point: it says nothing of a
        stream that is read as a whole in each run.
        """
        last = self._newest
        if not last.point.is_resumable or last.sequence != self._read or self._unsettled:
            return None
        return self._covering(last.state, last.point) if last.state else None

    @property
    def matches(self) -> Sequence[Matches]:
        """The numbers of matches of each stream of which look-ups have found messages."""
        return [Matches(key[0], found, self._matched[key]) for key, found in self._total.items()]

    def _restate(self, state: bytes, point: ResumePoint) -> None:
        """Emit a state that resumes where the last emitted one does, with the same positions."""
        before = self._emitted
        resumes_at = before.point if before else BEGINNING
        if point.progress == resumes_at.progress and not self._has_finished:
            positions = before.positions if before else self._start
            uncovered = before.uncovered if before else self._start_uncovered
            self._restated = self._emitted = PositionedState(
                state, 0, 0, dict(positions), point, uncovered
            )

    def _covering(self, state: bytes, point: ResumePoint) -> PositionedState:
        """Combine a state that covers all records so far with the positions of this moment."""
        return PositionedState(
            state, self._read, self._unsettled, dict(self._positions), point, self._listed()
        )

    def _listed(self) -> dict[tuple[int, str], list[str]]:
        """Return the found messages that no record covers yet; nothing if these are too many."""
        if len(self._found) > MAX_LISTED or sum(map(len, self._found.values())) > MAX_LISTED:
            return {}
        return {row: list(contents) for row, contents in self._found.items()}
