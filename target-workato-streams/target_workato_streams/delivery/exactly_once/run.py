"""Exactly once: decides when a topic is read, gives the rule what was found, and logs it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic

from ...event_streams import logger
from ...event_streams.errors import EventStreamsError, RequestRejected
from ...plugin.wording import counted, duration
from ..positions import ReturnedState, read_state, resume_point, with_positions
from ..records import Position, PublishResult, R, Run
from .deduplicator import HOLD_SECS, Deduplicator
from .topic_reader import LookUp, TopicReader


class ExactlyOnceTopic(Generic[R]):
    """Follows one topic, and finds out which records of a lost request are in it.

    For the only worker of the topic: no other thread of this process publishes to it.
    """

    def __init__(self, reader: TopicReader) -> None:
        self.reader = reader
        self.position = Position(None)  # The last message that was read or acknowledged.
        self._applied: set[int] = set()  # Of the records that were found in the topic.
        self._is_in_doubt = False  # Whether the last request may have been applied.

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records to send; after a lost request, look for them in the topic first."""
        missing = [each for each in records if each.sequence not in self._applied]
        if not self._is_in_doubt:
            return missing
        try:
            self.position, applied = self.reader.find(missing, self.position)
        except RequestRejected as exc:
            # The messages are not the reason, so they must not be rejected.
            raise EventStreamsError(f"{exc} (look-up after a lost response)") from None
        self._is_in_doubt = False
        self._applied |= {each.sequence for each in applied}
        return [each for each in missing if each.sequence not in self._applied]

    def on_lost(self, *, is_throttled: bool) -> bool:
        """Read the topic before the next request."""
        self._is_in_doubt = True
        return False

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """The topic is read after a response without a result or an id."""
        last = result.last_message_id
        if last is not None and not result.unknown:
            self.position = Position(last, result.time)
        elif len(result.failed) < len(records):
            # Without the id of what was accepted, the next look-up would not know where to start.
            self._is_in_doubt = True
        return not self._is_in_doubt


class ExactlyOnce(Generic[R]):
    """Publishes the records that their topics do not contain, and adds positions to the states."""

    memory = 0  # of the states: no more than three are kept

    def __init__(self, open_reader: Callable[[int, str], TopicReader]) -> None:
        self._open_reader = open_reader  # by the id and label of a topic
        self._rule: Deduplicator[R] = Deduplicator()
        self.add_record, self.settle = self._rule.add_record, self._rule.settle
        self._topics: dict[int, ExactlyOnceTopic[R]] = {}
        self._returned: ReturnedState | None = None  # the tap's first state, with positions if any
        self._has_warned = False

    @property
    def unsettled(self) -> int:
        """The number of records to be published that have no outcome."""
        return self._rule.unsettled

    @property
    def cut(self) -> int:
        """The last record before the checkpoint."""
        return self._rule.cut

    def batch_key(self, record: R) -> str | int:
        """Return the row, because a partial failure could reorder its versions."""
        return record.version.row if record.version.is_keyed else record.sequence

    def open_topic(self, topic_id: int, label: str, run: Run) -> None:
        """Read what an interrupted run has published."""
        topic = self._topics[topic_id] = ExactlyOnceTopic(self._open_reader(topic_id, label))
        position = self._rule.positions.get(topic_id)
        if position is None:
            topic.position = run(topic.reader.find_end)
            self._rule.add_found(topic_id, topic.position)
            self._warn_new(label, topic.position)
            return
        look_up: LookUp = run(partial(topic.reader.look_up, position))
        topic.position = look_up.end
        self._rule.add_found(topic_id, look_up.end, look_up.versions)
        if look_up.versions and self._rule.holds_back_states:
            logger.info(
                "%s: no state is emitted until the records of %s have come again, or for %s",
                label,
                counted(len(look_up.versions), "found message"),
                duration(HOLD_SECS),
            )

    def add_state(self, state: bytes) -> None:
        """Raise `EventStreamsError` if the positions or bookmarks of the state are malformed."""
        # The tap returns the same positions with each state, and they are old by then. But some
        # taps emit an empty state before the one that they were given.
        if self._returned is None or not self._returned.positions:
            self._restore(read_state(state))
        self._rule.add_state(state, resume_point(state))

    def pop_state(self) -> bytes | None:
        """Return the newest state that has to be emitted, with its positions."""
        newest = None
        while state := self._rule.pop_state():
            newest = state
        return with_positions(newest.state, newest.positions, newest.uncovered) if newest else None

    def finish(self, *, is_complete: bool) -> Sequence[tuple[int, R]]:
        """End the input, and log what that means; see `Deduplicator.finish`."""
        if is_complete:
            self._log_matches()
        elif not self._rule.is_covered:
            logger.info(
                "The last line of the input is no STATE: the positions in the state stay where "
                "they are, and the next run reads the topics from there to skip what is published"
            )
        return self._rule.finish(is_complete=is_complete)

    def topic(self, topic_id: int) -> ExactlyOnceTopic[R]:
        """Return the position of a topic, for its only worker."""
        return self._topics[topic_id]

    def requests(self, topic_id: int) -> int:
        """Return the number of requests that have read a topic; in any thread."""
        topic = self._topics.get(topic_id)
        return topic.reader.client.requests if topic else 0

    def report_progress(self) -> None:
        """Log how far topics have been read."""
        for topic in self._topics.values():
            topic.reader.report_progress()

    def _restore(self, returned: ReturnedState) -> None:
        self._returned = returned
        self._rule.restore(returned.positions, returned.uncovered)
        if returned.positions and self._topics:
            self._warn("the tap returned its positions after its first record")
        elif returned.has_bookmarks and not (returned.positions or self._topics):
            self._warn(
                "the state has no positions, as before the first run with exactly_once, or after "
                "a tap has not kept what the target adds to the bookmarks of the state"
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

    def _log_matches(self) -> None:
        """Log which found messages matched no record, and the probable reason."""
        for (topic_id, _), matches in self._rule.matches.items():
            topic, unmatched = self._topics.get(topic_id), matches.found - matches.matched
            if topic is None or not unmatched:
                continue
            log, reason = logger.info, "their rows have changed or were deleted since"
            if not matches.is_read:
                reason = "their stream, perhaps of another pipeline, had no record in this run"
            elif not matches.matched:
                log = logger.warning
                reason = "have keys, stream maps or columns changed? Then they are duplicated"
            log(
                "%s: %s of %s messages of an interrupted run matched no record: %s",
                topic.reader.label,
                f"{unmatched:,}",
                f"{matches.found:,}",
                reason,
            )
