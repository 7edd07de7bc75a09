"""The rule of `exactly_once`: which records are published, and which states are emitted.

Pure: it does no input or output, and is given a clock. For the main thread only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic

from ...message_key import RowVersion
from ..positions import BEGINNING, ResumePoint
from ..records import Position, R

# Found messages that match no record hold back states for this time after the last match. Their
# rows may have been deleted, so waiting forever would mean that no state is emitted.
HOLD_SECS = 600.0
# The maximum number of found messages that a state lists instead of being held back.
MAX_LISTED = 100


@dataclass
class PositionedState:
    """A state, and the positions up to which the topics are covered by it."""

    state: bytes  # the value of the STATE message; empty if there is none yet
    point: ResumePoint  # where the tap resumes
    sequence: int = 0  # of the last record that it covers
    unsettled: int = 0  # published records before it without an outcome
    positions: dict[int, Position] = field(default_factory=dict)  # by topic id
    # The messages before the positions that it does not cover: contents in topic order, by topic
    # and row.
    uncovered: dict[tuple[int, str], list[str]] = field(default_factory=dict)


@dataclass
class Matches:
    """The messages of one stream in one topic that the state or look-ups have found."""

    found: int = 0
    matched: int = 0  # by records of this run
    is_read: bool = False  # whether the stream has any records in this run


class Deduplicator(Generic[R]):
    """Matches the records of a run with the messages that their topics already contain.

    Only a STATE from which the tap resumes later than from the one before covers records. At most
    one of these at a time is the checkpoint. Its positions only move with the outcomes of records
    before it, and no batch contains records on both sides of it. So the messages up to a position
    are covered by the state, and the messages after it are not, in each topic by itself.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, hold_secs: float = HOLD_SECS
    ) -> None:
        self.unsettled = 0  # published records without an outcome
        self.matches: dict[tuple[int, str], Matches] = {}  # by topic and stream
        self._clock = clock
        self._hold_secs = hold_secs
        self._sequence = 0  # of the last record
        self.positions: dict[int, Position] = {}  # by topic id
        # The contents of the messages that no record covers yet, in topic order, by topic and row.
        self._found: dict[tuple[int, str], list[str]] = {}
        self._matched_at = 0.0  # the last time that messages were found or matched
        # Records whose topic has a later version of their row, to which the source may have gone
        # back; by topic and row.
        self._kept: dict[tuple[int, str], R] = {}
        # The newest STATE of any kind, and the newest one that is a new resume point.
        self._newest = self._last = PositionedState(b"", BEGINNING)
        self._has_finished = False  # whether the tap has finished a stream since `_last`
        self._checkpoint: PositionedState | None = None
        # The last emitted state; before the first one, what the tap was started with.
        self._emitted = PositionedState(b"", BEGINNING)
        self._due: PositionedState | None = None  # `_emitted`, if that has to be emitted now

    def restore(
        self, positions: Mapping[int, Position], uncovered: Iterable[tuple[int, RowVersion]] = ()
    ) -> None:
        """Continue from a state that the tap returns.

        `uncovered` are the messages before the positions that it does not cover, in topic order. A
        topic that has already been read keeps its position, which is a later one.
        """
        for topic_id, version in uncovered:
            if topic_id not in self.positions:
                self._add(topic_id, version)
        self.positions = {**positions, **self.positions}
        if not self._emitted.state:
            self._emitted.positions = {**positions, **self._emitted.positions}
            self._emitted.uncovered = self._listed()

    def add_found(self, topic_id: int, end: Position, versions: Iterable[RowVersion] = ()) -> None:
        """Add the versions that a look-up has found, in topic order, and the last message read.

        If the last emitted state has no position for this topic, it has to be emitted again before
        the first publish; otherwise, nothing shows the next run where to look.
        """
        if topic_id not in self.positions:
            for state in (self._checkpoint, self._emitted):
                if state is not None:
                    state.positions[topic_id] = end
            self._due = self._emitted if self._emitted.state else None
        self.positions[topic_id] = end
        for version in versions:
            self._add(topic_id, version)
            self._matched_at = self._clock()

    def add_record(self, topic_id: int, record: R) -> bool:
        """Add a record; return whether to publish it, and to pass its outcome to `settle`.

        If not, its topic contains it. Then it counts as acknowledged, or `finish` returns it.
        """
        self._sequence = record.sequence
        version = record.version
        row = topic_id, version.row
        found = self._found.pop(row, [])
        self._kept.pop(row, None)
        if matches := self.matches.get((topic_id, version.stream)):
            matches.is_read = True
        if version.content not in found:
            self.unsettled += 1
            return True
        covered = found.index(version.content) + 1
        if matches:
            matches.matched += covered
        self._matched_at = self._clock()
        if later := found[covered:]:
            self._found[row] = later
            if later[-1] != version.content:
                self._kept[row] = record
        return False

    def settle(self, topic_id: int, records: Sequence[R], position: Position | None) -> None:
        """Handle the outcome of published records, which are on one side of the checkpoint.

        The position is the last message of the topic that was acknowledged or read. It is None if
        the records were rejected.
        """
        self.unsettled -= len(records)
        if position is not None:
            self.positions[topic_id] = position
        checkpoint = self._checkpoint
        if checkpoint is not None and records[-1].sequence <= checkpoint.sequence:
            checkpoint.unsettled -= len(records)
            if position is not None:
                checkpoint.positions[topic_id] = position

    def add_state(self, state: bytes, point: ResumePoint) -> None:
        """Add the value of a STATE message, and where the tap resumes from it.

        If the tap would resume where it would have resumed before, the state covers no record. Then
        it is emitted with the positions of the last emitted one, if it resumes there.

        Otherwise, it becomes the checkpoint unless there is one, or states are held back. Other
        states are ignored, because a later one covers their records, too.
        """
        self._has_finished |= bool(self._newest.point.unfinished - point.unfinished)
        self._newest = self._covering(state, point)
        is_new = (
            point.progress != self._last.point.progress
            or self._has_finished
            or self._sequence == self._last.sequence
        )
        if point.is_resumable and is_new:
            self._last, self._has_finished = self._newest, False
            self._open_checkpoint(self._last)
        elif point.progress == self._emitted.point.progress and not self._has_finished:
            positions = dict(self._emitted.positions)
            self._emitted = replace(self._emitted, state=state, point=point, positions=positions)
            self._due = self._emitted

    @property
    def cut(self) -> int:
        """The sequence number that no batch may span: the last record before the checkpoint."""
        return self._checkpoint.sequence if self._checkpoint else 0

    @property
    def holds_back_states(self) -> bool:
        """Whether found messages are not covered yet, so that the next run has to find them."""
        is_recent = self._clock() - self._matched_at <= self._hold_secs
        return bool(self._kept or (is_recent and self._found and not self._listed()))

    @property
    def is_covered(self) -> bool:
        """Whether the last emitted state covers all records."""
        return self._emitted.sequence == self._sequence

    def pop_state(self) -> PositionedState | None:
        """Return a state that has to be emitted now; call until None after outcomes and STATEs."""
        if self._due is not None:
            due, self._due = self._due, None
            return due
        done = self._checkpoint
        if done is None or done.unsettled:
            return None
        self._emitted, self._checkpoint = done, None
        last = self._last
        if last is not done and last.sequence == self._sequence:
            # No later STATE may come for hours.
            self._open_checkpoint(self._covering(last.state, last.point))
        return done

    def finish(self, *, is_complete: bool) -> list[tuple[int, R]]:
        """End the input; it is complete if its last line was a STATE.

        If not, the tap may have failed, or it has not written a STATE that would have been equal to
        the one before. Returns the records that were kept, with their topics, in input order. They
        have to be published now, and their outcomes passed to `settle`. If the tap has failed, it
        emits them again in the next run, which finds them.
        """
        kept = [(topic_id, record) for (topic_id, _), record in self._kept.items()]
        kept.sort(key=lambda each: each[1].sequence)
        self._kept.clear()
        self.unsettled += len(kept)
        newest = self._newest
        if is_complete:
            self._found.clear()
            # A stream may have ended although the state is no new resume point: it says nothing of
            # a stream that is read as a whole in each run.
            if newest.state and newest.point.is_resumable and newest.sequence == self._sequence:
                self._checkpoint = self._covering(newest.state, newest.point)
        return kept

    def _add(self, topic_id: int, version: RowVersion) -> None:
        self._found.setdefault((topic_id, version.row), []).append(version.content)
        self.matches.setdefault((topic_id, version.stream), Matches()).found += 1

    def _open_checkpoint(self, state: PositionedState) -> None:
        if self._checkpoint is None and not self.holds_back_states:
            self._checkpoint = self._last = state

    def _covering(self, state: bytes, point: ResumePoint) -> PositionedState:
        """Combine a state that covers all records so far with the positions of this moment."""
        positions, uncovered = dict(self.positions), self._listed()
        return PositionedState(state, point, self._sequence, self.unsettled, positions, uncovered)

    def _listed(self) -> dict[tuple[int, str], list[str]]:
        """Return the found messages that no record covers yet; nothing if these are too many."""
        if len(self._found) > MAX_LISTED or sum(map(len, self._found.values())) > MAX_LISTED:
            return {}
        return {row: list(contents) for row, contents in self._found.items()}
