"""From record to acknowledged state: the main thread's side of publishing.

Only the main thread is in here. Workers hand in what became of messages, and a state is told when
the records before it are acknowledged or set aside.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from ..event_streams.errors import EventStreamsError, Stopped
from ..shutdown import Shutdown
from ..state.checkpoints import CheckpointTracker
from ..state.state_writer import StateWriter
from . import background
from .bisect import Published, Rejected
from .context import Failed
from .messages import Message
from .payload import InvalidPayloadError
from .producer_registry import ProducerRegistry
from .summary import PROGRESS_SECS, Summary

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from ..state.dead_letters import DeadLetters
    from .context import Outcome, PublishContext
    from .messages import Origin, Stream
    from .payload import Payload
    from .topic_producer import TopicProducer

T = TypeVar("T")


class Producer:
    """Takes in records and states, in order, and tells the states that have become true.

    Args:
        context: How to publish.
        payload: What to publish of a record.
        dead_letters: Where messages are set aside, as far as the context allow it.
        max_batch_age_secs: How long a message may wait for its batch to fill.
        logger: The logger of the plugin.
    """

    def __init__(
        self,
        context: PublishContext,
        payload: Payload,
        dead_letters: DeadLetters | None,
        *,
        max_batch_age_secs: float,
        logger: logging.Logger,
    ) -> None:
        self._context = context
        self._limits = context.limits
        self._payload = payload
        self._dead_letters = dead_letters
        self._logger = logger
        self._producers = ProducerRegistry(context, max_batch_age_secs=max_batch_age_secs)
        self._checkpoints = CheckpointTracker()
        self._state_writer = StateWriter(dead_letters)
        self._shutdown = Shutdown()
        self._sequence = 0
        self._unacknowledged = 0
        self._summary = Summary(logger, self._producers.tallies)

    def route(self, stream: str, topic_id: int | None) -> None:
        """Send a stream to a topic; None skips it."""
        self._producers.route(stream, topic_id)

    def add(self, stream: Stream, record: bytes, origin: Origin) -> None:
        """Take in a record; returns when there is room for another one.

        Args:
            stream: The stream that it is published from, which has a route.
            record: The JSON object.
            origin: Where it comes from.

        Raises:
            EventStreamsError: The run has failed.
        """
        topic_producer = self._producers.of(stream.name)
        if topic_producer is None:
            return
        payload = self._payload
        try:
            body, _ = (record, None) if payload.is_record else payload.of(record, stream)
            self._limits.check(body)
        except InvalidPayloadError as exc:
            self.reject(stream, origin, str(exc))
            return
        batch = topic_producer.builder.add(self._message(body, origin))
        if batch:
            topic_producer.submit(batch)
            # Also where there is room: a chunk of the input may hold many batches.
            self.poll()
            while topic_producer.full and not self.stopping:
                self._context.wakeup.wait(self.poll_timeout())
                self.poll()

    def reject(self, stream: Stream, origin: Origin, reason: str) -> None:
        """Take in a record that cannot be sent: it is set aside, or ends the run.

        Args:
            stream: The stream that it would be published from, which has a route.
            origin: Where it comes from.
            reason: Why it cannot be sent.

        Raises:
            EventStreamsError: The run has failed.
        """
        topic_producer = self._producers.of(stream.name)
        if topic_producer is None:
            return
        rejected = Rejected(self._message(origin.record, origin), reason)
        self._take_in(topic_producer, self._context.rejection_limit.judge(rejected))
        self.poll()

    def close_checkpoint(self, state: bytes) -> None:
        """Take in the value of a STATE message, which stands for all records before it."""
        self._checkpoints.close(state)
        self._write_state()

    @property
    def stopping(self) -> bool:
        """Whether the input should be read no further."""
        return self._shutdown.stopping

    def stop(self) -> None:
        """Read no further, and finish within the time that a signal leaves (signal-safe)."""
        self._shutdown.stop()
        self._context.wakeup.call()

    def fileno(self) -> int:
        """The descriptor that is ready to read when `attend` has something to do."""
        return self._context.wakeup.fileno()

    def poll_timeout(self) -> float:
        """The seconds after which `attend` has something to do, if nothing else happens."""
        now = time.monotonic()
        due = [self._shutdown.deadline or now + PROGRESS_SECS, *self._producers.due()]
        return max(0.0, min(due) - now)

    def poll(self) -> None:
        """Do what is due: take in what became of messages, close old batches, tell the state.

        Raises:
            EventStreamsError: The run has failed; `finish` brings it to its end.
        """
        self._settle()
        self._shutdown.check()

    def while_waiting(self, work: Callable[[], T]) -> T:
        """Attend while something else takes its time, and return what comes of it.

        Raises:
            Stopped: A signal came first.
            EventStreamsError: The run has failed; or what the work raises.
        """
        future = background.begin(work, done=self._context.wakeup.call)
        while not future.done():
            if self.stopping:
                raise Stopped("the run is being stopped")
            self._context.wakeup.wait(self.poll_timeout())
            self.poll()
        return future.result()

    def finish(self) -> None:
        """Publish and tell all that was read, as far as a failure or a signal leaves it possible.

        Raises:
            EventStreamsError: The run has failed, or not all could be published in time.
        """
        self._producers.submit_all()
        while not self._producers.idle and not self._shutdown.late:
            self._context.wakeup.wait(self.poll_timeout())
            self._settle()
        self._settle()
        self._close()
        self._summary.write()
        self._shutdown.check()
        if self._unacknowledged:
            raise EventStreamsError(
                f"stopped before {self._unacknowledged} messages were acknowledged; "
                "the next run publishes them if it starts from the last state told"
            )

    def _close(self) -> None:
        idle = self._producers.idle
        self._producers.close(join=idle)
        if idle:
            # Else a worker that nobody waits for may yet call.
            self._context.wakeup.close()
        if self._dead_letters is not None:
            try:
                self._dead_letters.close()
            except EventStreamsError as exc:
                self._shutdown.fail(exc, at_once=True)

    def _message(self, body: bytes, origin: Origin) -> Message:
        checkpoint = self._checkpoints.current
        checkpoint.unacknowledged += 1
        self._unacknowledged += 1
        self._sequence += 1
        return Message(body, origin, self._sequence, checkpoint)

    def _settle(self) -> None:
        self._context.wakeup.clear()
        while self._context.outcomes:
            self._take_in(*self._context.outcomes.popleft())
        self._producers.submit_old()
        self._write_state()
        self._summary.progress()

    def _take_in(self, topic_producer: TopicProducer, outcome: Outcome) -> None:
        if isinstance(outcome, Published):
            topic_producer.tally.published += len(outcome.messages)
            self._unacknowledged -= len(outcome.messages)
            self._summary.count(outcome.messages)
            for message in outcome.messages:
                self._checkpoints.acknowledge(message.checkpoint)
        elif isinstance(outcome, Rejected):
            self._write_dead_letter(topic_producer, outcome)
        else:
            self._fail(outcome)

    def _write_dead_letter(self, topic_producer: TopicProducer, rejected: Rejected) -> None:
        assert self._dead_letters is not None  # noqa: S101
        try:
            self._dead_letters.write(rejected, topic_producer.topic_id)
        except EventStreamsError as exc:
            self._fail(Failed(exc))
            return
        if not topic_producer.tally.dead_lettered:
            self._logger.warning(
                "%s: set aside: %s; the summary counts those that follow",
                rejected.message.origin,
                rejected.reason,
            )
        topic_producer.tally.dead_lettered += 1
        self._unacknowledged -= 1
        self._checkpoints.acknowledge(rejected.message.checkpoint)

    def _fail(self, failed: Failed) -> None:
        """Publish no more than what stands before a message that ends the run, else nothing."""
        rejected = failed.rejected
        self._shutdown.fail(failed.error, at_once=rejected is None)
        if rejected is None:
            self._context.limiter.stop()
        self._producers.keep_before(rejected.message.sequence if rejected else 0)

    def _write_state(self) -> None:
        try:
            self._state_writer.write(self._checkpoints.take())
        except EventStreamsError as exc:
            self._fail(Failed(exc))
