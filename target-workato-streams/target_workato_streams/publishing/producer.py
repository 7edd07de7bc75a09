"""The producer, which publishes the records of the input from the main thread."""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from ..event_streams.errors import EventStreamsError, Stopped
from ..exactly_once.positions import without_positions
from ..exactly_once.topic_reader import PROGRESS_SECS as READING_PROGRESS_SECS
from ..message_key import NO_ROW_VERSION
from ..plugin.wording import counted
from ..state.checkpoints import CheckpointTracker, StateWriter
from ..state.dead_letters import DeadLetters
from .context import RejectionLog
from .messages import Failed, InvalidPayloadError, OutgoingMessage, Published, Rejected
from .summary import PROGRESS_SECS, Summary
from .topic_producer import TopicProducer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..exactly_once.run import ExactlyOnce
    from ..input.messages import Record, Stream
    from .context import PublishContext
    from .messages import Outcome

T = TypeVar("T")

# The maximum memory of the messages that wait, if the requests of one topic fail.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# After a signal, a run has 10 seconds in total; after a failure, requests in flight have this time.
GRACE_SECS = 8.0


class Producer:
    """Publishes records and emits the states that cover them, in the main thread only."""

    def __init__(self, context: PublishContext) -> None:
        path = self.dead_letter_path = context.settings.dead_letter_path
        self.topics: dict[int, TopicProducer] = {}
        self.routes: dict[str, TopicProducer | None] = {}  # None for a stream that is skipped
        self.stopping = False  # after a signal, no more input is read
        self._context = context
        self._exactly_once = context.exactly_once
        self._checkpoints = CheckpointTracker()
        self._dead_letters = DeadLetters(path) if path else None
        self._states = StateWriter(self._dead_letters)
        self._rejections = RejectionLog()
        self._failure: Exception | None = None
        # The time on the monotonic clock at which the run has to end; None before a shutdown.
        self._deadline: float | None = None
        self._summary = Summary(lambda: {each.label: each.total for each in self.topics.values()})

    def route(self, stream: str, topic_id: int | None) -> None:
        """Publish a stream to a topic; None skips it."""
        if topic_id is None:
            self.routes[stream] = None
            return
        if topic_id not in self.topics:
            self.topics[topic_id] = TopicProducer(topic_id, self._context)
        self.routes[stream] = producer = self.topics[topic_id]
        producer.streams[stream] = None

    def add(self, stream: Stream, text: bytes, record: Record, problem: str | None = None) -> None:
        """Publish a record; return when there is room for another one.

        A record with a problem is rejected without being sent. `stream` and `text` are those after
        stream maps, and `record` is as received. Raises `Stopped` if a signal arrived while there
        was no room, and `EventStreamsError` if the run has failed.
        """
        producer = self.routes[stream.name]
        if producer is None:
            return
        settings = self._context.settings
        body, version = record.text, NO_ROW_VERSION
        if problem is None:
            try:
                body, version = settings.payload.of(text, stream)
                settings.batch.check(body)
            except InvalidPayloadError as exc:
                problem = str(exc)
        mapped = None if text is record.text else (stream, text)
        checkpoint, sequence = self._checkpoints.track(), self._checkpoints.sequence
        message = OutgoingMessage(body, record, sequence, checkpoint, version, mapped)
        if problem is not None:
            rejected = self._context.rejection_limit.count(Rejected(message, problem))
            self._handle(producer.topic_id, rejected)
            self.poll()
        elif not self._is_wanted(producer, message):
            self._checkpoints.acknowledge([checkpoint])
            producer.tally.skipped += 1
        elif producer.add(message):
            # Poll even if there is room, because a chunk of the input may contain many batches.
            self.poll()
            self._wait_while(lambda: self._has_to_pause(producer))

    def close_checkpoint(self, state: bytes) -> None:
        """Take the value of a STATE message, which covers all records before it."""
        if self._exactly_once is None:
            self._checkpoints.close(state)
        else:
            self._exactly_once.take_state(state)
        self._emit_state()

    def finish(self, *, has_ended: bool = False, is_complete: bool = False) -> None:
        """Publish the records that were read, and emit the state that covers them.

        After a failure or a signal, it does so as far as possible. If the input has ended with
        a STATE, it is complete; if not, the tap may have failed. Raises `EventStreamsError` if the
        run has failed, or if messages are unacknowledged.
        """
        if has_ended and not self.stopping and self._exactly_once is not None:
            # A failure or a signal is reported below.
            with suppress(EventStreamsError):
                self._complete(self._exactly_once, is_complete=is_complete)
        self.submit_all()
        self._process()
        while not self.idle or self._context.outcomes or self._states.output is not None:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                break
            self.wait()
            self._process()
        idle = self.idle
        for producer in self.topics.values():
            producer.close(join=idle)
        self._context.wakeup.close()
        self._summary.write()
        if self._dead_letters is not None:
            with self._failing():
                self._dead_letters.close()
        if self._failure is not None:
            raise self._failure
        if self._states.output is not None:
            raise EventStreamsError(
                "the last state could not be written, because nothing reads stdout; check the "
                "program that reads the states, and run again"
            )
        if unacknowledged := self._checkpoints.unacknowledged:
            raise EventStreamsError(
                f"stopped with {counted(unacknowledged, 'unacknowledged message')}; the next "
                "run resumes from the last state and publishes them again"
            )

    def submit_all(self) -> None:
        """Close and queue all batches under construction."""
        for producer in self.topics.values():
            producer.submit_open()

    @property
    def idle(self) -> bool:
        """Whether no topic has a batch that waits or is in flight."""
        return all(producer.idle for producer in self.topics.values())

    def stop(self) -> None:
        """Stop reading, and finish within the time limit after a signal; signal-safe."""
        self.stopping = True
        self._deadline = self._deadline or time.monotonic() + GRACE_SECS
        self._context.wakeup.call()

    def wait(self, readable: int | None = None) -> bool:
        """Wait until `poll` is due or a descriptor is readable; return whether it is readable."""
        now = time.monotonic()
        until = self._deadline or now + PROGRESS_SECS
        if self._exactly_once is not None:
            until = min(until, now + READING_PROGRESS_SECS)
        for producer in self.topics.values():
            if (due_at := producer.due_at) is not None:
                until = min(until, due_at)
        return self._context.wakeup.wait(
            max(0.0, until - now), readable=readable, writable=self._states.output
        )

    def poll(self) -> None:
        """Handle outcomes, batches at their maximum age and states; raise the run's failure."""
        self._process()
        if self._failure is not None:
            raise self._failure

    def while_waiting(self, work: Callable[[], T]) -> T:
        """Run a function in another thread, poll until it is done, and return its result.

        Raises `Stopped` if a signal ended the wait, and the failure of the run.
        """
        future = self._context.wakeup.run(work)
        self._wait_while(lambda: not future.done())
        return future.result()

    def _is_wanted(self, producer: TopicProducer, message: OutgoingMessage) -> bool:
        """Whether to publish a record; before the first one of a topic, the topic is read."""
        exactly_once, topic_id = self._exactly_once, producer.topic_id
        if exactly_once is None:
            return True
        if not exactly_once.has_read(topic_id):
            try:
                look_up = self.while_waiting(partial(exactly_once.read, topic_id, producer.label))
            except Stopped:
                # Nothing is read after this record, so no state covers it.
                self._checkpoints.acknowledge([message.checkpoint])
                raise
            except EventStreamsError as exc:
                # The failure of another topic has already been handled.
                if self._failure is None:
                    self._fail(Failed(exc))
                raise
            with self._failing():
                self._states.write(exactly_once.take_look_up(topic_id, look_up))
        return exactly_once.rule.wants(topic_id, message)

    def _complete(self, exactly_once: ExactlyOnce[OutgoingMessage], *, is_complete: bool) -> None:
        """Publish the records that were kept, and emit the last state of a complete input."""
        self._drain()
        for topic_id, message in exactly_once.finish(is_complete=is_complete):
            checkpoint, sequence = self._checkpoints.track(), self._checkpoints.sequence
            kept = replace(message, sequence=sequence, checkpoint=checkpoint)
            self.topics[topic_id].add(kept)
        self._drain()
        if is_complete:
            with self._failing():
                self._states.write(exactly_once.take_last())

    def _drain(self) -> None:
        """Publish everything that was read, and handle the outcomes; raises as `while_waiting`."""
        self.submit_all()
        self._wait_while(lambda: not self.idle)
        self.poll()

    def _has_to_pause(self, producer: TopicProducer) -> bool:
        """Whether reading should pause because enough batches of a topic wait.

        If the requests of one topic fail, the records of the others are still published, within
        the memory limit.
        """
        if len(producer.queue) <= producer.queue.max_in_flight:
            return False
        topics = self.topics.values()
        if not producer.failing or all(each.failing for each in topics):
            return True
        return sum(each.queue.memory for each in topics) > MAX_WAITING_BYTES

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
        now = time.monotonic()
        for producer in self.topics.values():
            if (due_at := producer.due_at) is not None and due_at <= now:
                producer.submit_open()
        self._emit_state()
        self._summary.progress()
        if self._exactly_once is not None:
            self._exactly_once.report_progress()

    def _handle(self, topic_id: int, outcome: Outcome) -> None:
        producer = self.topics[topic_id]
        exactly_once = self._exactly_once
        if isinstance(outcome, Published):
            if exactly_once is not None:
                exactly_once.rule.settle(topic_id, outcome.messages, outcome.position)
            self._checkpoints.acknowledge(message.checkpoint for message in outcome.messages)
            producer.tally.published += len(outcome.messages)
        elif isinstance(outcome, Failed):
            self._fail(outcome)
        elif self._dead_letters is not None:  # without a file, no message may be rejected
            with self._failing():
                error = {
                    "topic_id": topic_id,
                    "reason": outcome.reason,
                    "status": outcome.status,
                    "attempts": outcome.attempts,
                }
                self._dead_letters.write(outcome.message.record, error)
                self._checkpoints.acknowledge([outcome.message.checkpoint])
                # The rule does not know a record that was rejected without being sent.
                if exactly_once is not None and outcome.status is not None:
                    exactly_once.rule.settle(topic_id, [outcome.message], None)
                producer.tally.dead_lettered += 1
                self._rejections.add(outcome, producer.label)

    def _emit_state(self) -> None:
        """Emit the newest state that covers only acknowledged messages, or the rest of the last."""
        with self._failing():
            if self._exactly_once is None:
                state = self._checkpoints.take()
                self._states.write(None if state is None else without_positions(state))
            else:
                self._states.write(self._exactly_once.take_emittable())

    def _fail(self, failed: Failed) -> None:
        """Start a shutdown because of a failure; only the first failure is reported.

        Messages before a rejected one are still published; after another failure, nothing is.
        """
        self._failure = self._failure or failed.error
        first_dropped = 0
        if failed.rejected is not None:
            first_dropped = failed.rejected.message.sequence
        else:
            self._deadline = self._deadline or time.monotonic() + GRACE_SECS
            self._context.limiter.stop()
        for producer in self.topics.values():
            producer.drop_from(first_dropped)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Start a shutdown if a state or a dead letter cannot be written."""
        try:
            yield
        except EventStreamsError as exc:
            self._fail(Failed(exc))
