"""The producer, which publishes the records of the input from the main thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from ..event_streams.errors import Stopped
from .acknowledgements import Acknowledgements
from .messages import Failed, Mapped, Rejected
from .payload import InvalidPayloadError
from .producer_registry import ProducerRegistry
from .shutdown import Shutdown
from .summary import PROGRESS_SECS, Summary

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from ..input.records import Record, Stream
    from .context import PublishContext
    from .messages import Message, Outcome
    from .topic_producer import TopicProducer

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
