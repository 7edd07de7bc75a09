"""The producer for `exactly_once`, which publishes the records that the rule selects."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace
from typing_extensions import override

from ..event_streams.errors import EventStreamsError, Stopped
from ..state.checkpoints import EmittableState
from ..state.exactly_once import MAX_UNACKNOWLEDGED, ExactlyOnce
from ..state.replay import Decision
from .exactly_once_log import ExactlyOnceLog
from .lost_responses import LostResponses
from .messages import Failed, Published, Rejected
from .positioned_states import PositionedStates
from .producer import Producer

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .context import PublishContext
    from .look_up import KeyConsumer
    from .messages import Outcome, OutgoingMessage
    from .topic_producer import TopicProducer

# With several topics, no state may ever cover exactly the messages of all of them. After this
# time without an emitted state, reading pauses until all topics have reached the same state.
MAX_SECS_WITHOUT_STATE = 5.0


class ExactlyOnceProducer(Producer):
    """Publishes the records that their topics do not contain yet.

    Args:
        context: What the producers of all topics share.
        logger: The logger of the plugin.
        open_consumer: Opens a connection for reading a topic, by its id and label.
    """

    def __init__(
        self,
        context: PublishContext,
        logger: logging.Logger,
        open_consumer: Callable[[int, str], KeyConsumer],
    ) -> None:
        super().__init__(context, logger)
        self._rule: ExactlyOnce[OutgoingMessage] = ExactlyOnce(MAX_UNACKNOWLEDGED)
        self._positioned = PositionedStates(self._rule)
        self._open_consumer = open_consumer
        self._log = ExactlyOnceLog(logger)

    @override
    def close_checkpoint(self, state: bytes) -> None:
        if returned := self._rule.take_state(state):
            self._log.state(returned, after_records=self._checkpoints.sequence > 0)
        for producer in self.topics.values():
            producer.builder.mark_state()
        self._positioned.last = EmittableState(state, self._checkpoints.sequence)
        super().close_checkpoint(state)
        if self._is_state_overdue:
            # A topic whose requests are retried must not block the others.
            self.submit_all()
            self._wait_while(lambda: not self.idle and not self._is_any_failing)
            self.poll()

    @override
    def finish(self, *, is_complete: bool = False) -> None:
        if is_complete and not self.stopping:
            # A failure or a signal is reported below.
            with contextlib.suppress(EventStreamsError):
                self._complete_input()
        super().finish(is_complete=is_complete)

    def _complete_input(self) -> None:
        last = self._positioned.last
        # Some taps emit a state of null, which covers nothing.
        is_last = last is not None and last.sequence == self._checkpoints.sequence
        self._drain()
        self._publish_kept(self._rule.end_input())
        self._drain()
        if last is not None and is_last:
            with self._failing():
                self._states.write(self._positioned.of(last.value))

    @override
    def _emit_state(self) -> None:
        state = self._checkpoints.take()
        text = None
        if state is not None and self._rule.covers(state.sequence):
            text = self._positioned.of(state.value)
        with self._failing():
            self._states.write(text)

    @override
    def _publish(self, producer: TopicProducer, message: OutgoingMessage) -> None:
        try:
            is_wanted = self._is_wanted(producer, message)
        except Stopped:
            # Nothing is read after this record, so no state covers it.
            self._checkpoints.acknowledge([message])
            raise
        if is_wanted:
            super()._publish(producer, message)
        else:
            self._checkpoints.acknowledge([message])
            producer.tally.skipped += 1

    def _is_wanted(self, producer: TopicProducer, message: OutgoingMessage) -> bool:
        """Look up the topic if necessary, and ask the rule whether to publish the record."""
        rule, topic_id = self._rule, producer.topic_id
        if producer.lost_responses is None:
            self._look_up(producer)
        if rule.is_replay_over:
            self._drain()
            self._publish_kept(rule.end_replays())
        if self._checkpoints.unacknowledged >= rule.max_unacknowledged:
            self.submit_all()
            self._wait_while(lambda: self._checkpoints.unacknowledged >= rule.max_unacknowledged)
        while (decision := rule.decide(topic_id, message)) is Decision.WAIT:
            self._drain()
        return decision is Decision.PUBLISH

    @override
    def _handle(self, topic_id: int, outcome: Outcome) -> None:
        if isinstance(outcome, Published):
            if outcome.position is not None:
                self._rule.move(topic_id, outcome.position)
            for message in outcome.messages:
                self._rule.accept(topic_id, message)
        elif isinstance(outcome, Rejected):
            self._rule.reject(topic_id, outcome.message)
        super()._handle(topic_id, outcome)
        # Check after each outcome, because the next one may be for a record after the state.
        self._emit_state()

    @property
    def _is_state_overdue(self) -> bool:
        return (
            time.monotonic() - self._positioned.emitted_at > MAX_SECS_WITHOUT_STATE
            and len(self.topics) > 1
            and self._checkpoints.unacknowledged > 0
            and not self._rule.is_replaying
            and not self._is_any_failing
        )

    @property
    def _is_any_failing(self) -> bool:
        return any(producer.failing for producer in self.topics.values())

    def _look_up(self, producer: TopicProducer) -> None:
        topic_id, label = producer.topic_id, producer.label
        consumer = self._open_consumer(topic_id, label)
        position = self._rule.positions.get(topic_id)
        try:
            found = self.while_waiting(
                lambda: consumer.find_end() if position is None else consumer.read_after(position)
            )
        except Stopped:
            raise
        except EventStreamsError as exc:
            # The failure of another topic has already been handled.
            if self._failure is None:
                self._fail(Failed(exc))
            raise
        self._rule.look_up(topic_id, found.position, found.versions)
        producer.lost_responses = LostResponses(consumer, found.position)
        self._log.look_up(label, position, found)
        if position is None:
            if not self._rule.has_state:
                self._log.no_state()
            with self._failing():
                self._states.write(self._positioned.with_position(topic_id, found.position))

    def _publish_kept(self, kept: list[tuple[int, OutgoingMessage]]) -> None:
        for topic_id, message in kept:
            checkpoint, sequence = self._checkpoints.track(), self._checkpoints.sequence
            again = replace(message, sequence=sequence, checkpoint=checkpoint)
            self.topics[topic_id].add(again)

    def _drain(self) -> None:
        """Publish everything that was read, and handle the outcomes.

        Raises:
            Stopped: A signal arrived first.
            EventStreamsError: The run has failed.
        """
        self.submit_all()
        self._wait_while(lambda: not self.idle)
        self.poll()
