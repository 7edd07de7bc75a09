"""The producer, which publishes the records of the input from the main thread."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from ..delivery.checkpoints import CheckpointTracker
from ..event_streams import logger
from ..event_streams.errors import EventStreamsError, Stopped
from ..message_key import NO_ROW_VERSION
from ..plugin.wording import counted
from ..singer_messages import Record, Stream
from ..state.dead_letters import DeadLetters
from ..state.writer import StateWriter
from .context import PublishContext
from .messages import Failed, InvalidPayloadError, Outcome, OutgoingMessage, Published, Rejected
from .summary import Planned, Summary, log_plan
from .topic_producer import TopicProducer

T = TypeVar("T")

# The maximum memory of the messages and states that wait, if the requests of one topic fail.
MAX_WAITING_BYTES = 32 * 1024 * 1024
# The longest time between two lines about the progress, if nothing happens.
LONGEST_WAIT_SECS = 20.0
# After a signal, a run has 10 seconds in total; after a failure, requests in flight have this time.
GRACE_SECS = 8.0


class Producer:
    """Publishes records and emits the states that cover them, in the main thread only.

    `poll` handles what has happened, `wait` waits until something happens, and `poll_while` does
    both in turn as long as a condition holds.
    """

    def __init__(self, context: PublishContext) -> None:
        path = self.dead_letter_path = context.settings.dead_letter_path
        self._dry_run = context.settings.dry_run
        self.topics: dict[int, TopicProducer] = {}
        self.routes: dict[str, TopicProducer | None] = {}  # None for a stream that is skipped
        self.store = context.store  # of published rows
        self.stopping = False  # after a signal, no more input is read
        self._context = context
        self._checkpoints = CheckpointTracker()
        self._sequence = 0  # of the last message
        self._dead_letters = DeadLetters(path) if path and not self._dry_run else None
        self._states = StateWriter(self._dead_letters)
        self._failure: Exception | None = None
        # The time on the monotonic clock at which the run has to end; None before a shutdown.
        self._deadline: float | None = None
        self._summary = Summary(
            lambda: {each.label: each.total for each in self.topics.values()}, context.limiter
        )

    def route(self, stream: str, topic_id: int | None) -> None:
        """Publish a stream to a topic; None skips it."""
        if topic_id is None:
            self.routes[stream] = None
            return
        if topic_id not in self.topics:
            self.topics[topic_id] = TopicProducer(topic_id, self._context)
        self.routes[stream] = producer = self.topics[topic_id]
        producer.streams.setdefault(stream, 0)

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
        self._sequence += 1
        message = OutgoingMessage(body, record, self._sequence, version, mapped)
        if problem is not None:
            rejected = self._context.rejection_limit.count(Rejected(message, problem))
            if isinstance(rejected, Failed):
                self._fail(rejected)
            else:  # no state waits for the record
                self._write_dead_letter(producer, rejected)
            self.poll()
            return
        if not producer.is_open:
            self._open(producer)
        self._checkpoints.add_record(message.sequence)
        waiting = len(producer.queue)
        try:
            self._settle(producer.add(message))
        except EventStreamsError as exc:
            self._fail(Failed(exc))
            raise
        if len(producer.queue) != waiting:
            # Polls even if there is room, because a chunk of the input may contain many batches.
            self.poll_while(lambda: self._has_to_pause(producer))

    def add_state(self, state: bytes) -> None:
        """Add the value of a STATE message, which covers all records before it."""
        self._checkpoints.add_state(state)
        self._emit_state()

    def finish(self) -> None:
        """Publish the records that were read, and emit the state that covers them.

        After a failure or a signal, it does so as far as possible. Raises `EventStreamsError` if
        the run has failed, or if messages are unacknowledged.
        """
        with suppress(EventStreamsError):  # a failure or a signal is reported below
            self._submit_open(self.topics.values())
            self.poll_while(lambda: not self._is_idle)
        while not self._is_idle or self._states.output is not None:
            if self._deadline is not None and time.monotonic() >= self._deadline:
                break
            self.wait()
            self._handle_events()
        self._close()
        if self._failure is not None:
            raise self._failure
        if self._states.output is not None:
            raise EventStreamsError(
                "the last state could not be written, because nothing reads stdout; check the "
                "program that reads the states, and run again"
            )
        if unsettled := self._checkpoints.unsettled:
            raise EventStreamsError(
                f"stopped with {counted(unsettled, 'unacknowledged message')}; the next "
                "run resumes from the last state and publishes them again"
            )

    def _close(self) -> None:
        """Stop the workers, log the summary, and close files and the store of published rows."""
        is_idle = self._is_idle
        for producer in self.topics.values():
            producer.close(join=is_idle)
        self._context.wakeup.close()
        if self.store and is_idle:
            self.store.close()
        for producer in self.topics.values():
            producer.delivery.log_summary()
        if self._dry_run:
            plans = [
                Planned(each.label, each.streams, each.delivery.streams, each.total)
                for each in self.topics.values()
            ]
            log_plan(plans, self._context.settings.max_requests_per_minute)
        else:
            self._summary.log()
        if self._dead_letters is not None:
            with self._shutdown_on_error():
                self._dead_letters.close()

    def stop(self) -> None:
        """Stop reading, and finish within the time limit after a signal; signal-safe."""
        self.stopping = True
        self._deadline = self._deadline or time.monotonic() + GRACE_SECS
        self._context.wakeup.call()

    def wait(self, readable: int | None = None) -> bool:
        """Wait until `poll` is due or a descriptor is readable; return whether it is readable."""
        now = time.monotonic()
        until = self._deadline or now + LONGEST_WAIT_SECS
        until = min([until, *(producer.due_at for producer in self.topics.values())])
        return self._context.wakeup.wait(
            max(0.0, until - now), readable=readable, writable=self._states.output
        )

    def poll(self) -> None:
        """Handle outcomes, batches at their maximum age and states; raise the run's failure."""
        self._handle_events()
        if self._failure is not None:
            raise self._failure

    def poll_while(self, condition: Callable[[], bool]) -> None:
        """Poll, and then wait and poll as long as a condition holds.

        Raises `Stopped` if a signal ended the wait, and the failure of the run.
        """
        self.poll()
        while condition():
            if self.stopping:
                raise Stopped("the run is being stopped")
            self.wait()
            self.poll()

    def run_in_thread(self, work: Callable[[], T]) -> T:
        """Run a function in another thread, poll until it is done, and return its result.

        Raises its exception, or that of `poll_while`.
        """
        future = self._context.wakeup.run(work)
        self.poll_while(lambda: not future.done())
        return future.result()

    def _open(self, producer: TopicProducer) -> None:
        """Prepare the delivery of a topic before its first message."""
        try:
            producer.delivery.open(producer.label, self.run_in_thread)
        except EventStreamsError as exc:
            # A signal is no failure, and that of another topic has already been handled.
            if self._failure is None and not isinstance(exc, Stopped):
                self._fail(Failed(exc))
            raise
        producer.is_open = True

    @property
    def _is_idle(self) -> bool:
        """Whether all outcomes of all batches that were submitted have been handled."""
        return all(each.idle for each in self.topics.values()) and not self._context.outcomes

    def _submit_open(self, producers: Iterable[TopicProducer]) -> None:
        """Close and queue the batches under construction."""
        with self._shutdown_on_error():
            for producer in producers:
                self._settle(producer.submit_open())

    def _settle(self, messages: Sequence[OutgoingMessage]) -> None:
        self._checkpoints.settle([message.sequence for message in messages])

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
        memory = sum(each.queue.memory for each in topics) + self._checkpoints.memory
        return memory > MAX_WAITING_BYTES

    def _handle_events(self) -> None:
        self._context.wakeup.clear()
        while self._context.outcomes:
            self._handle(*self._context.outcomes.popleft())
        now = time.monotonic()
        self._submit_open([each for each in self.topics.values() if each.due_at <= now])
        self._emit_state()
        self._summary.report_if_due()
        for producer in self.topics.values():
            producer.delivery.report_progress()

    def _handle(self, topic_id: int, outcome: Outcome) -> None:
        producer = self.topics[topic_id]
        if isinstance(outcome, Published):
            self._settle(producer.delivery.settle(outcome.messages))
            for message in outcome.messages if self._dry_run else ():
                producer.streams[message.stream_name] += 1
            producer.tally.published += len(outcome.messages) - outcome.unchanged
            producer.tally.unchanged += outcome.unchanged
        elif isinstance(outcome, Failed):
            self._fail(outcome)
        elif self._write_dead_letter(producer, outcome):
            self._settle(producer.delivery.settle([outcome.message]))

    def _write_dead_letter(self, producer: TopicProducer, rejected: Rejected) -> bool:
        """Write a rejected record to the dead-letter file; return whether that succeeded."""
        if self._dry_run:
            producer.tally.dead_lettered += 1
        if self._dead_letters is not None:  # without a file, no message may be rejected
            with self._shutdown_on_error():
                error = {
                    "topic_id": producer.topic_id,
                    "reason": rejected.reason,
                    "status": rejected.status,
                    "attempts": rejected.attempts,
                }
                self._dead_letters.write(rejected.message.record, error)
                producer.tally.dead_lettered += 1
                if producer.tally.dead_lettered == 1:
                    logger.warning(
                        "%s: rejected and written to the dead-letter file: %s; the summary counts "
                        "further rejections",
                        rejected.message.record,
                        rejected.reason,
                    )
                return True
        return False

    def _emit_state(self) -> None:
        """Emit the newest state that covers only acknowledged messages, or the rest of the last."""
        with self._shutdown_on_error():
            if not self._dry_run:
                self._states.write(self._checkpoints.pop_state())

    def _fail(self, failed: Failed) -> None:
        """Start a shutdown because of a failure; only the first failure is reported.

        Messages before a rejected one are still published; after another failure, nothing is.
        """
        self._failure = self._failure or failed.error
        first_dropped = failed.rejected.message.sequence if failed.rejected else 0
        if failed.rejected is None:
            self._deadline = self._deadline or time.monotonic() + GRACE_SECS
            self._context.limiter.stop()
        for producer in self.topics.values():
            producer.drop_from(first_dropped)

    @contextmanager
    def _shutdown_on_error(self) -> Iterator[None]:
        """Start a shutdown if a file or the store of published rows cannot be used."""
        try:
            yield
        except EventStreamsError as exc:
            self._fail(Failed(exc))
