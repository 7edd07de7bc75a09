"""What `exactly_once` adds to a run: the producer and the senders ask these objects."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Generic

from ..event_streams import logger
from ..event_streams.errors import EventStreamsError, RequestRejected
from ..plugin.wording import counted, duration
from .deduplicator import HOLD_SECS, Deduplicator, R
from .positions import Position, read_state, resume_point, with_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .deduplicator import PositionedState
    from .positions import ReturnedState
    from .topic_reader import LookUp, TopicReader


class TopicPosition:
    """Follows one topic, and finds out which messages of a lost request are in it.

    For the only worker of the topic: no other thread of this process publishes to it.
    """

    def __init__(self, reader: TopicReader, last: Position) -> None:
        self.last = last  # The last message that was read or acknowledged.
        self._reader = reader
        self._applied: set[int] = set()
        self._is_in_doubt = False

    def mark_in_doubt(self) -> None:
        """Mark that the last request may have been applied, although it has no response."""
        self._is_in_doubt = True

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of a batch that have to be sent, in order."""
        missing = [each for each in records if each.sequence not in self._applied]
        if not self._is_in_doubt:
            return missing
        try:
            self.last, applied = self._reader.find(missing, self.last)
        except RequestRejected as exc:
            # The messages are not the reason, so they must not be rejected.
            raise EventStreamsError(f"{exc} (look-up after a lost response)") from None
        self._is_in_doubt = False
        self._applied |= {each.sequence for each in applied}
        return [each for each in missing if each.sequence not in self._applied]

    def acknowledge(self, message_id: str | None, time: str | None) -> bool:
        """Move to the last message of a request that was acknowledged; return whether it is known.

        If not, the topic is read before the next request.
        """
        if message_id is None:
            self.mark_in_doubt()
            return False
        self.last = Position(message_id, time)
        return True


class ExactlyOnce(Generic[R]):
    """Decides which records are published and which states are emitted, and logs why.

    For the main thread, except `read`; each topic's position is for its worker.
    """

    def __init__(self, open_reader: Callable[[int, str], TopicReader]) -> None:
        self.rule: Deduplicator[R] = Deduplicator()
        self._open_reader = open_reader  # by the id and label of a topic
        self._readers: dict[int, TopicReader] = {}
        self._positions: dict[int, TopicPosition] = {}
        self._returned: ReturnedState | None = None
        self._has_warned = False

    def take_state(self, state: bytes) -> None:
        """Take a state; EventStreamsError if its positions or bookmarks are malformed."""
        # The tap returns the same positions with each state, and they are old by then. But some
        # taps emit an empty state before the one that they were given.
        if self._returned is None or not self._returned.positions:
            self._restore(state)
        self.rule.take_state(state, time.monotonic(), resume_point(state))

    def has_read(self, topic_id: int) -> bool:
        """Whether the topic has been read, so that the rule knows its messages."""
        return topic_id in self._positions

    def read(self, topic_id: int, label: str) -> LookUp:
        """Read a topic before its first record; in any thread."""
        reader = self._readers[topic_id] = self._open_reader(topic_id, label)
        position = self.rule.position(topic_id)
        return reader.find_end() if position is None else reader.look_up(position)

    def report_progress(self) -> None:
        """Log how far topics have been read, if it takes long; in the main thread."""
        for reader in list(self._readers.values()):
            reader.report_progress()

    def requests(self, topic_id: int) -> int:
        """Return the number of requests that have read a topic; in any thread."""
        reader = self._readers.get(topic_id)
        return reader.requests if reader else 0

    def take_look_up(self, topic_id: int, look_up: LookUp) -> bytes | None:
        """Take the result of `read`; return the state to emit before the first publish, if any."""
        reader = self._readers[topic_id]
        self._positions[topic_id] = TopicPosition(reader, look_up.end)
        if self.rule.position(topic_id) is None:
            self._warn_new(reader.label, look_up.end)
        elif look_up.versions:
            logger.info(
                "%s: no state is emitted until the records of %s have come again, or for %s",
                reader.label,
                counted(len(look_up.versions), "found message"),
                duration(HOLD_SECS),
            )
        again = self.rule.look_up(topic_id, look_up.end, look_up.versions)
        return _text(again)

    def position(self, topic_id: int) -> TopicPosition:
        """Return the position of a topic that has been read, for its worker."""
        return self._positions[topic_id]

    def take_emittable(self) -> bytes | None:
        """Return the newest state that has to be emitted now, with its positions, if any."""
        newest = None
        while checkpoint := self.rule.take_checkpoint():
            newest = checkpoint
        return _text(newest)

    def finish(self, *, is_complete: bool) -> list[tuple[int, R]]:
        """End the input; see `Deduplicator.finish`."""
        for topic_id, found, matched in self.rule.matches if is_complete else ():
            if matched == found:
                continue
            log, reason = logger.info, "; their rows have changed or were deleted since"
            if not matched:
                log = logger.warning
                reason = (
                    ": were key properties, stream name, stream maps or columns changed? Then they "
                    "are duplicated"
                )
            log(
                "%s: %s of %s messages of an interrupted run matched no record%s",
                self._readers[topic_id].label,
                f"{found - matched:,}",
                f"{found:,}",
                reason,
            )
        return self.rule.finish(is_complete=is_complete)

    def take_last(self) -> bytes | None:
        """Return the last state after `finish`; None if it does not cover all records."""
        return _text(self.rule.take_last())

    def _restore(self, state: bytes) -> None:
        self._returned = returned = read_state(state)
        self.rule.restore(returned.positions or {}, returned.uncovered)
        if returned.positions and self._positions:
            self._warn("the tap returned its positions after its first record")
        elif returned.positions and not returned.has_bookmarks:
            logger.warning(
                "The state has positions of exactly_once but no bookmarks of the tap: the tap "
                "starts over, and records published before these positions are published again"
            )
        elif returned.has_bookmarks and not self._positions and returned.positions is None:
            self._warn(
                "the state has bookmarks of the tap but no positions, as before the first run with "
                "exactly_once"
            )

    def _warn_new(self, label: str, end: Position) -> None:
        """Log a warning if an earlier run may have published to a topic without a position."""
        returned = self._returned
        if returned is None:
            self._warn("the tap has not returned a state before its first record")
        elif returned.positions and returned.has_bookmarks and end.message_id is not None:
            logger.warning(
                "%s: the state has positions of other topics but not of this one: if an earlier "
                "run has published to it, exactly_once cannot apply, and its messages may be "
                "published again",
                label,
            )

    def _warn(self, reason: str) -> None:
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "exactly_once cannot apply to this run, because %s: records that an interrupted "
                "run has published may be published again",
                reason,
            )


def _text(state: PositionedState | None) -> bytes | None:
    return with_positions(state.state, state.positions, state.uncovered) if state else None
