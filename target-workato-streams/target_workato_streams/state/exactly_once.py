"""The rule of `exactly_once`: which records are published, and which states may be emitted.

Like `replay`, it does no input or output: the producer asks it about each record and state, and
reports the results of look-ups and the outcomes of records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic

from .positions import read_state
from .replay import Decision, R, StreamReplay

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .positions import Position, ReturnedState
    from .versions import Version

# The maximum number of records that are published but neither acknowledged nor rejected. A replay
# is over after this many consecutive records that were in no list: an interrupted run cannot have
# left more records that did not reach their topic.
MAX_UNACKNOWLEDGED = 1000


class ExactlyOnce(Generic[R]):
    """Matches the records of a run with the messages that the topics already contain.

    Args:
        max_unacknowledged: See `MAX_UNACKNOWLEDGED`.
    """

    def __init__(self, max_unacknowledged: int = MAX_UNACKNOWLEDGED) -> None:
        self.max_unacknowledged = max_unacknowledged
        self._positions: dict[int, Position] = {}
        self._looked_up: set[int] = set()
        # By topic and stream; only those with messages that the input has not covered yet.
        self._replays: dict[tuple[int, str], StreamReplay[R]] = {}
        self._returned: ReturnedState | None = None
        # A state has to cover the input up to this record: the last one that covers a message after
        # a position.
        self._covered_by = 0

    def take_state(self, state: bytes) -> ReturnedState | None:
        """Check a state; read the positions if the tap returns it before its first record.

        Returns:
            The content of the state; None if an earlier one had positions or a topic is known.

        Raises:
            EventStreamsError: The positions or the bookmarks are malformed.
        """
        returned = read_state(state)
        # Some taps emit an empty state before the one that they were given.
        if self._returned is not None and (self._returned.positions or self._looked_up):
            return None
        self._returned = returned
        # A topic that was already looked up has a later position.
        self._positions = {**(self._returned.positions or {}), **self._positions}
        return self._returned

    @property
    def has_state(self) -> bool:
        """Whether the tap has emitted a STATE message."""
        return self._returned is not None

    @property
    def positions(self) -> Mapping[int, Position]:
        """The positions of the topics, for a state that is emitted now."""
        return dict(self._positions)

    def needs_look_up(self, topic_id: int) -> bool:
        """Whether a topic has to be looked up before publishing a record."""
        return topic_id not in self._looked_up

    def look_up(self, topic_id: int, position: Position, found: Iterable[Version] = ()) -> None:
        """Add the result of a look-up.

        Args:
            topic_id: The topic.
            position: The last message that was read.
            found: The versions of our messages after the topic's previous position, in topic
                order; empty if it had no position.
        """
        self._looked_up.add(topic_id)
        self._positions[topic_id] = position
        for version in found:
            self._replays.setdefault((topic_id, version.stream), StreamReplay()).add(version)

    def decide(self, topic_id: int, record: R) -> Decision:
        """Decide about a record; see `Decision`."""
        stream = topic_id, record.version.stream
        replay = self._replays.get(stream)
        if replay is None:
            return Decision.PUBLISH
        decision = replay.decide(record)
        if decision in {Decision.SKIP, Decision.KEEP}:
            self._covered_by = max(self._covered_by, record.sequence)
            self._drop_if_complete(stream)
        return decision

    def move(self, topic_id: int, position: Position) -> None:
        """Move a topic's position to a message that was read or acknowledged."""
        self._positions[topic_id] = position

    def accept(self, topic_id: int, record: R) -> None:
        """Mark a record as acknowledged by its topic."""
        self._covered_by = max(self._covered_by, record.sequence)
        stream = topic_id, record.version.stream
        if replay := self._replays.get(stream):
            replay.accept(record)
            self._drop_if_complete(stream)
        for replay in self._replays.values():
            replay.count(record)

    def reject(self, topic_id: int, record: R) -> None:
        """Mark a record as rejected by its topic."""
        if replay := self._replays.get((topic_id, record.version.stream)):
            replay.reject(record)

    @property
    def is_replaying(self) -> bool:
        """Whether the input has not covered all messages that look-ups have found."""
        return bool(self._replays)

    @property
    def is_replay_over(self) -> bool:
        """Whether `end_replays` has something to do; then no record may be unacknowledged."""
        return any(replay.is_over(self.max_unacknowledged) for replay in self._replays.values())

    def end_replays(self) -> list[tuple[int, R]]:
        """End the replays that are over.

        Returns:
            The records that were kept, in the order of the input, with their topics. They have to
            be published before any later record.
        """
        limit = self.max_unacknowledged
        return self._end([key for key, replay in self._replays.items() if replay.is_over(limit)])

    def end_input(self) -> list[tuple[int, R]]:
        """End all replays after a complete input, whose last message was a STATE.

        Returns:
            As `end_replays`. The last state may be emitted when these records are in their topics.
        """
        return self._end(list(self._replays))

    def covers(self, sequence: int) -> bool:
        """Whether a state covers all of our known messages.

        Args:
            sequence: The position of the state in the input; all records before it are
                acknowledged or rejected.
        """
        return self._covered_by <= sequence and not self._replays

    def _drop_if_complete(self, stream: tuple[int, str]) -> None:
        if self._replays[stream].is_complete:
            del self._replays[stream]

    def _end(self, streams: list[tuple[int, str]]) -> list[tuple[int, R]]:
        kept = [
            (stream[0], record) for stream in streams for record in self._replays.pop(stream).kept
        ]
        return sorted(kept, key=lambda each: each[1].sequence)
