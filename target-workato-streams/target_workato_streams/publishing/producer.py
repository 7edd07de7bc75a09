"""The producer, which publishes the records of the input from the main thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from ..event_streams.errors import EventStreamsError, Stopped
from ..plugin.wording import counted
from ..state.checkpoints import CheckpointTracker, EmittableState, StateWriter
from ..state.dead_letters import DeadLetters
from ..state.positions import without_positions
from .context import RejectionLog
from .message_key import NO_VERSION
from .messages import Failed, Mapped, Message, Rejected
from .payload import InvalidPayloadError
from .summary import PROGRESS_SECS, Summary
from .topic_producer import TopicProducer

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..input.messages import Record, Stream
    from .context import PublishContext
    from .message_key import Version
    from .messages import Outcome
    from .summary import Tally

# The maximum memory of the messages that wait, if the requests of one topic fail.
MAX_WAITING_BYTES = 32 * 1024 * 1024


class ProducerRegistry:
    """The producers of all topics; for the main thread only.

    Args:
        context: The context that they share.
    """

    def __init__(self, context: PublishContext) -> None:
        self._context = context
        self._by_topic: dict[int, TopicProducer] = {}
        self._by_stream: dict[str, TopicProducer | None] = {}

    def route(self, stream: str, topic_id: int | None) -> None:
        """Publish a stream to a topic; None skips it."""
        producer = None
        if topic_id is not None:
            producer = self._by_topic.get(topic_id) or TopicProducer(topic_id, self._context)
            self._by_topic[topic_id] = producer
            producer.streams[stream] = None
        self._by_stream[stream] = producer

    def of_stream(self, stream: str) -> TopicProducer | None:
        """Return the producer of a stream that has been routed; None if it is skipped."""
        return self._by_stream[stream]

    def of_topic(self, topic_id: int) -> TopicProducer:
        """Return the producer of a topic."""
        return self._by_topic[topic_id]

    def __iter__(self) -> Iterator[TopicProducer]:
        """Iterate over all producers."""
        return iter(self._by_topic.values())

    def __len__(self) -> int:
        """Return the number of producers."""
        return len(self._by_topic)

    @property
    def idle(self) -> bool:
        """Whether no topic has a batch that waits or is in flight."""
        return all(producer.idle for producer in self._by_topic.values())

    def has_to_pause(self, producer: TopicProducer) -> bool:
        """Whether reading should pause because enough batches of a topic wait.

        If the requests of one topic fail, the records of the others are still published, within
        the memory limit.
        """
        if not producer.full:
            return False
        producers = self._by_topic.values()
        if not producer.failing or all(each.failing for each in producers):
            return True
        return sum(each.queue.memory for each in producers) > MAX_WAITING_BYTES

    @property
    def due_at(self) -> float:
        """The time on the monotonic clock at which the next batch is due; infinity without one."""
        due = (producer.due_at for producer in self._by_topic.values())
        return min((at for at in due if at is not None), default=float("inf"))

    def submit_due(self) -> None:
        """Close the batches that have reached their maximum age."""
        now = time.monotonic()
        for producer in self._by_topic.values():
            if producer.due_at is not None and producer.due_at <= now:
                producer.submit_open()

    def submit_all(self) -> None:
        """Close all batches, at the end of the input."""
        for producer in self._by_topic.values():
            producer.submit_open()

    def drop_from(self, sequence: int) -> None:
        """Drop the messages from a sequence number on, except those in flight."""
        for producer in self._by_topic.values():
            producer.drop_from(sequence)

    def close(self, *, join: bool) -> None:
        """Accept no more batches, and drop the waiting ones.

        Args:
            join: Whether to wait for the workers, which must be idle.
        """
        for producer in self._by_topic.values():
            producer.queue.close()
        if join:
            for producer in self._by_topic.values():
                producer.join()

    def tallies(self) -> dict[str, Tally]:
        """Return the counts of each topic by label."""
        return {producer.label: producer.total for producer in self._by_topic.values()}


# After a signal, a run has 10 seconds in total; after a failure, requests in flight have this time.
GRACE_SECS = 8.0


class Shutdown:
    """The reason for a shutdown (a signal or the first failure), and the deadline.

    Args:
        context: The context that the producers of all topics share.
        producers: The producers of all topics.

    Attributes:
        stopping: Whether a signal was received.
        failure: The first failure.
        deadline: The time on the monotonic clock at which the run has to end; None before a
            shutdown.
    """

    def __init__(self, context: PublishContext, producers: ProducerRegistry) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self.deadline: float | None = None
        self._context = context
        self._producers = producers

    def stop(self) -> None:
        """Start a shutdown because of a signal; signal-safe."""
        self.stopping = True
        self._set_deadline()
        self._context.wakeup.call()

    def fail(self, failed: Failed) -> None:
        """Start a shutdown because of a failure; only the first failure is reported.

        Messages before a rejected one are still published; after another failure, nothing is.
        """
        self.failure = self.failure or failed.error
        if failed.rejected is None:
            self._set_deadline()
            self._context.limiter.stop()
            self._producers.drop_from(0)
        else:
            self._producers.drop_from(failed.rejected.message.sequence)

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def _set_deadline(self) -> None:
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_SECS


class Acknowledgements:
    """Tracks the messages of all topics, from the record to the state that covers it.

    For the main thread only.

    Args:
        dead_letter_path: The dead-letter file, if there is one.
        shutdown: Ends the run if a state or a dead letter cannot be written.

    Attributes:
        unacknowledged: The number of messages that are neither acknowledged nor dead letters.
        sequence: The sequence number of the last message.
    """

    def __init__(self, dead_letter_path: Path | None, shutdown: Shutdown) -> None:
        self.unacknowledged = 0
        self._shutdown = shutdown
        self._rejections = RejectionLog()
        self.sequence = 0
        self._checkpoints = CheckpointTracker()
        self._dead_letters = DeadLetters(dead_letter_path) if dead_letter_path else None
        self._state_writer = StateWriter(self._dead_letters)

    def track(
        self,
        body: bytes,
        record: Record,
        version: Version = NO_VERSION,
        mapped: Mapped | None = None,
    ) -> Message:
        """Create the message of the record that was read last; see `Message` for the arguments."""
        checkpoint = self._checkpoints.current
        checkpoint.unacknowledged += 1
        self.unacknowledged += 1
        self.sequence += 1
        return Message(body, record, self.sequence, checkpoint, version, mapped)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Mark messages as acknowledged by the service."""
        self.unacknowledged -= len(messages)
        for message in messages:
            self._checkpoints.acknowledge(message.checkpoint)

    def dead_letter(self, rejected: Rejected, producer: TopicProducer) -> None:
        """Write a rejected message to the dead-letter file."""
        if self._dead_letters is None:
            raise ValueError("rejected messages end the run")
        error = {
            "topic_id": producer.topic_id,
            "reason": rejected.reason,
            "status": rejected.status,
            "attempts": rejected.attempts,
        }
        try:
            self._dead_letters.write(rejected.message.record, error)
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))
            return
        self.acknowledge([rejected.message])
        producer.tally.dead_lettered += 1
        self._rejections.add(rejected, producer.label)

    def close_checkpoint(self, state: bytes) -> None:
        """Accept the value of a STATE message, which covers all records before it."""
        self._checkpoints.close(EmittableState(state, self.sequence))

    def emit_state(self) -> None:
        """Emit the newest state that covers only acknowledged messages, unless already emitted."""
        state = self._checkpoints.take()
        self.write(None if state is None else without_positions(state.value))

    def write(self, state: bytes | None) -> None:
        """Write a state, or the rest of the last one, as far as stdout accepts it."""
        try:
            self._state_writer.write(state)
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))

    @property
    def output(self) -> int | None:
        """The descriptor of stdout if a state is waiting for it to be writable."""
        return self._state_writer.fileno() if self._state_writer.pending else None

    def close(self) -> None:
        """Close the dead-letter file."""
        try:
            if self._dead_letters is not None:
                self._dead_letters.close()
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))

    def check(self) -> None:
        """Check at the end of a run that its states are written and cover all messages.

        Raises:
            EventStreamsError: A state is not written, or messages are unacknowledged.
        """
        if self.output is not None:
            raise EventStreamsError(
                "the last state could not be written, because nothing reads stdout; check the "
                "program that reads the states, and run again"
            )
        if self.unacknowledged:
            raise EventStreamsError(
                f"stopped with {counted(self.unacknowledged, 'unacknowledged message')}; the next "
                "run resumes from the last state and publishes them again"
            )


T = TypeVar("T")


class Producer:
    """Publishes records and emits the states that cover them.

    For the main thread only, which calls it for each message of the input and while it waits.

    Args:
        context: The context that the producers of all topics share.
        logger: The logger of the plugin.

    Attributes:
        dead_letter_path: The dead-letter file, if there is one.
        producers: The producers of all topics.
    """

    def __init__(self, context: PublishContext, logger: logging.Logger) -> None:
        self.dead_letter_path = context.settings.dead_letter_path
        self.producers = ProducerRegistry(context)
        self._context = context
        self._payload, self._batch_settings = context.settings.payload, context.settings.batch
        self._shutdown = Shutdown(context, self.producers)
        self._acknowledgements = Acknowledgements(self.dead_letter_path, self._shutdown)
        self._summary = Summary(logger, self.producers.tallies)

    def add(self, stream: Stream, text: bytes, record: Record, problem: str | None = None) -> None:
        """Publish a record; returns when there is room for another one.

        Args:
            stream: The stream of the record after stream maps, which has been routed.
            text: The record as JSON, after stream maps.
            record: The record as received.
            problem: The reason why the record is rejected without being sent, if there is one.

        Raises:
            Stopped: A signal arrived while there was no room.
            EventStreamsError: The run has failed.
        """
        producer = self.producers.of_stream(stream.name)
        if producer is None:
            return
        if problem is None:
            try:
                body, version = self._payload.of(text, stream)
                self._batch_settings.check(body)
            except InvalidPayloadError as exc:
                problem = str(exc)
        if problem is not None:
            rejected = Rejected(self._acknowledgements.track(record.text, record), problem)
            self._handle(producer.topic_id, self._context.rejection_limit.judge(rejected))
            self.poll()
            return
        mapped = None if text is record.text else Mapped(stream, text)
        self._publish(producer, self._acknowledgements.track(body, record, version, mapped))

    def _publish(self, producer: TopicProducer, message: Message) -> None:
        """Put a message into its batch, and wait until there is room for another one."""
        if producer.add(message):
            # Poll even if there is room, because a chunk of the input may contain many batches.
            self.poll()
            self._wait_while(lambda: self.producers.has_to_pause(producer))

    def close_checkpoint(self, state: bytes) -> None:
        """Accept the value of a STATE message, which covers all records before it."""
        self._acknowledgements.close_checkpoint(state)
        self._acknowledgements.emit_state()

    def complete_input(self) -> None:
        """Mark that the input has ended with a STATE, which shows that the tap has not failed."""

    def finish(self) -> None:
        """Publish the records that were read, and emit the state that covers them.

        After a failure or a signal, it does so as far as possible.

        Raises:
            EventStreamsError: The run has failed, or messages are unacknowledged.
        """
        self.producers.submit_all()
        self._process()
        while self._is_unfinished and not self._shutdown.overdue:
            self.wait()
            self._process()
        self.producers.close(join=self.producers.idle)
        self._context.wakeup.close()
        self._summary.write()
        self._acknowledgements.close()
        self._shutdown.check()
        self._acknowledgements.check()

    @property
    def _is_unfinished(self) -> bool:
        return (
            not self.producers.idle
            or bool(self._context.outcomes)
            or self._acknowledgements.output is not None
        )

    @property
    def stopping(self) -> bool:
        """Whether reading should stop."""
        return self._shutdown.stopping

    def stop(self) -> None:
        """Stop reading, and finish within the time limit after a signal; signal-safe."""
        self._shutdown.stop()

    def wait(self, readable: int | None = None) -> bool:
        """Wait until `poll` has something to do.

        Args:
            readable: A descriptor that also ends the wait when it is readable.

        Returns:
            Whether the descriptor is readable.
        """
        now = time.monotonic()
        deadline = self._shutdown.deadline or now + PROGRESS_SECS
        return self._context.wakeup.wait(
            max(0.0, min(deadline, self.producers.due_at) - now),
            readable=readable,
            writable=self._acknowledgements.output,
        )

    def poll(self) -> None:
        """Handle what is due: outcomes, batches at their maximum age, states.

        Raises:
            EventStreamsError: The run has failed; call `finish`.
        """
        self._process()
        self._shutdown.check()

    def while_waiting(self, work: Callable[[], T]) -> T:
        """Run a function in another thread, poll until it is done, and return its result.

        Raises:
            Stopped: A signal ended the wait.
            EventStreamsError: The run has failed, or the function raised it.
        """
        future = self._context.wakeup.run(work)
        self._wait_while(lambda: not future.done())
        return future.result()

    def _wait_while(self, condition: Callable[[], bool]) -> None:
        """Wait and poll as long as a condition holds; raises as `while_waiting`."""
        while condition():
            if self.stopping:
                raise Stopped("the run is being stopped")
            self.wait()
            self.poll()

    def _process(self) -> None:
        self._context.wakeup.clear()
        while self._context.outcomes:
            self._handle(*self._context.outcomes.popleft())
        self.producers.submit_due()
        self._acknowledgements.emit_state()
        self._summary.progress()

    def _handle(self, topic_id: int, outcome: Outcome) -> None:
        if isinstance(outcome, Failed):
            self._shutdown.fail(outcome)
            return
        producer = self.producers.of_topic(topic_id)
        if isinstance(outcome, Rejected):
            self._acknowledgements.dead_letter(outcome, producer)
            return
        self._acknowledgements.acknowledge(outcome.messages)
        producer.tally.published += len(outcome.messages)
        self._summary.count(outcome.messages)
