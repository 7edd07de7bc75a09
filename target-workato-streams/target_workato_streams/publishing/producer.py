"""The producer, which publishes records from the main thread."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError
from ..plugin.wording import counted
from ..state.versions import NO_VERSION
from .main_loop import MainLoop
from .messages import Mapped, Rejected
from .metrics import target_metrics
from .payload import InvalidPayloadError

if TYPE_CHECKING:
    import logging

    from ..input.records import Record, Stream
    from .context import PublishContext
    from .messages import Message
    from .topic_producer import TopicProducer


class Producer(MainLoop):
    """Publishes records and emits the states that cover them.

    For the main thread only.

    Args:
        context: The context that the producers of all topics share.
        logger: The logger of the plugin.

    Attributes:
        dead_letter_path: The dead-letter file, if there is one.
        metrics: Returns the metrics so far; may be called from any thread.
    """

    def __init__(self, context: PublishContext, logger: logging.Logger) -> None:
        super().__init__(context, logger)
        self.dead_letter_path = context.settings.dead_letter_path
        self._payload = context.settings.payload
        self._batch_settings = context.settings.batch
        self._publishes_records = self._payload.is_record
        self.metrics = partial(target_metrics, self._producers, context)

    def route(self, stream: str, topic_id: int | None) -> None:
        """Publish a stream to a topic; None skips it."""
        self._producers.route(stream, topic_id)

    def add(self, stream: Stream, text: bytes, record: Record) -> None:
        """Publish a record; returns when there is room for another one.

        Args:
            stream: The stream of the record after stream maps, which has been routed.
            text: The record as JSON, after stream maps.
            record: The record as received.

        Raises:
            EventStreamsError: The run has failed.
        """
        producer = self._producers.of_stream(stream.name)
        if producer is None:
            return
        body, version = text, NO_VERSION
        try:
            if not self._publishes_records:
                body, version = self._payload.of(text, stream)
            self._batch_settings.check(body)
        except InvalidPayloadError as exc:
            self.reject(stream, record, str(exc))
            return
        mapped = None if text is record.text else Mapped(stream, text)
        message = self._acknowledgements.track(body, record, version, mapped)
        self._publish(producer, message)

    def _publish(self, producer: TopicProducer, message: Message) -> None:
        """Put a message into its batch, and wait until there is room for another one."""
        if producer.add(message):
            # Poll even if there is room, because a chunk of the input may contain many batches.
            self.poll()
            while self._producers.has_to_pause(producer) and not self.stopping:
                self.wait()
                self.poll()

    def reject(self, stream: Stream, record: Record, reason: str) -> None:
        """Reject a record that cannot be published.

        Args:
            stream: The stream of the record after stream maps, which has been routed.
            record: The record as received.
            reason: Why the record cannot be published.

        Raises:
            EventStreamsError: The run has failed.
        """
        producer = self._producers.of_stream(stream.name)
        if producer is None:
            return
        rejected = Rejected(self._acknowledgements.track(record.text, record), reason)
        self._handle(producer.topic_id, self._context.rejection_limit.judge(rejected))
        self.poll()

    def close_checkpoint(self, state: bytes) -> None:
        """Accept the value of a STATE message, which covers all records before it."""
        self._acknowledgements.close_checkpoint(state)
        self._emit_state()

    def complete_input(self) -> None:
        """Mark that the input has ended with a STATE, as it does if the tap has not failed."""

    def finish(self) -> None:
        """Publish the records that were read, and emit the state that covers them.

        After a failure or a signal, it does so as far as possible.

        Raises:
            EventStreamsError: The run has failed, or messages are unacknowledged.
        """
        self._producers.submit_all()
        self._process()
        while not self._idle and not self._shutdown.overdue:
            self.wait()
            self._process()
        self._close()
        self._summary.write()
        self._shutdown.check()
        if self._acknowledgements.output is not None:
            raise EventStreamsError(
                "the last state is not written, since nothing reads stdout; check the program "
                "that reads the states, and run again"
            )
        if count := self._acknowledgements.unacknowledged:
            raise EventStreamsError(
                f"stopped with {counted(count, 'unacknowledged message')}; the next run resumes "
                "from the last state and publishes them again"
            )

    @property
    def _idle(self) -> bool:
        """Whether all batches are done and all states are written."""
        return (
            self._producers.idle
            and not self._context.outcomes
            and self._acknowledgements.output is None
        )

    def _close(self) -> None:
        idle = self._producers.idle
        self._producers.close(join=idle)
        if idle:
            # Otherwise a worker may still call it.
            self._context.wakeup.close()
        try:
            self._acknowledgements.close()
        except EventStreamsError as exc:
            self._shutdown.fail(exc, immediately=True)
