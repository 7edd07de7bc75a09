"""Publishes the batches of one topic in worker threads, while the main thread reads the input."""

from __future__ import annotations

import threading
import time
import traceback
from contextlib import closing
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError, Stopped
from .batch_queue import BatchQueue
from .batch_sender import BatchSender
from .batches import BatchBuilder
from .exactly_once_batches import ExactlyOnceBatchBuilder
from .messages import Failed
from .row_order import publish_in_row_order
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import PublishContext
    from .lost_responses import LostResponses
    from .messages import Message
    from .publish_client import PublishClient

# The maximum number of streams of a topic that are named in a line.
MAX_NAMES = 5


class TopicProducer:
    """The batches of one topic, and the workers that publish them.

    Its public methods are for the main thread.

    Args:
        topic_id: The topic.
        context: The context that the producers of all topics share.

    Attributes:
        builder: The batch under construction.
        queue: The batches that wait or are in flight.
        streams: The names of the streams that are published to this topic.
        tally: The counts of the main thread.
        lost_responses: With `exactly_once`, looks up the topic before messages are resent.
    """

    def __init__(self, topic_id: int, context: PublishContext) -> None:
        self.topic_id = topic_id
        settings = context.settings
        self.builder = (
            ExactlyOnceBatchBuilder(settings.batch)
            if settings.exactly_once
            else BatchBuilder(settings.batch)
        )
        self.lost_responses: LostResponses | None = None
        self.streams: dict[str, None] = {}
        self.tally = Tally()
        self.queue = BatchQueue(settings.max_in_flight)
        self._context = context
        self._senders: list[BatchSender] = []
        self._workers: list[threading.Thread] = []

    @property
    def label(self) -> str:
        """The topic and its streams, for errors and the summary."""
        names = list(self.streams)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"{', '.join(names[:MAX_NAMES])}{more} (topic {self.topic_id})"

    @property
    def total(self) -> Tally:
        """The counts of the main thread and of all workers."""
        return Tally.total([self.tally, *(sender.tally for sender in self._senders)])

    @property
    def full(self) -> bool:
        """Whether enough batches wait; reading should pause."""
        return len(self.queue) > self.queue.max_in_flight

    @property
    def failing(self) -> bool:
        """Whether a request of the topic is being retried."""
        return any(sender.failing for sender in self._senders)

    @property
    def due_at(self) -> float | None:
        """The time on the monotonic clock at which the batch under construction is due.

        None if it is empty, or if it has to wait for other batches and can still grow.
        """
        return self.builder.due_at if self.builder.messages and not self.queue else None

    @property
    def idle(self) -> bool:
        """Whether no batch waits or is in flight, apart from those of a failed worker."""
        return not self.queue.busy or not any(worker.is_alive() for worker in self._workers)

    def add(self, message: Message) -> bool:
        """Add a message to the batch under construction; return whether that submitted any."""
        for batch in (batches := self.builder.add(message)):
            self.submit(batch)
        return bool(batches)

    def submit_open(self) -> None:
        """Close and queue the batch under construction."""
        while batch := self.builder.close():
            self.submit(batch)

    def submit(self, batch: Sequence[Message]) -> None:
        """Queue a batch, and start a worker if none is free."""
        self.queue.put(batch)
        if len(self._workers) < min(self.queue.busy, self.queue.max_in_flight):
            self._start_worker()

    def drop_from(self, sequence: int) -> None:
        """Drop the messages from a sequence number on, except those in flight."""
        self.queue.drop_from(sequence)
        while batch := self.builder.close():
            self.submit([message for message in batch if message.sequence < sequence])

    def join(self) -> None:
        """Wait until the workers have ended."""
        for worker in self._workers:
            worker.join()

    def _start_worker(self) -> None:
        try:
            client = self._context.connect(self.topic_id)
            sender = BatchSender(client, self._context, self.lost_responses)
            # A daemon thread, so that the end of a run does not wait for a service that hangs.
            worker = threading.Thread(target=self._work, args=(client, sender), daemon=True)
            worker.start()
        except Exception as exc:  # noqa: BLE001 - ends the run
            self._fail(exc)
            return
        self._senders.append(sender)
        self._workers.append(worker)

    def _work(self, client: PublishClient, sender: BatchSender) -> None:
        with closing(client):
            while taken := self.queue.take():
                number, batch = taken
                self._context.wakeup.call()  # there is room for another one
                client.session.subject = self.label  # more streams may have been routed to it
                began = time.monotonic()
                self._publish(batch, sender)
                self._context.latency.observe(time.monotonic() - began)
                # Only now, because the topic must not seem idle before the outcome is reported.
                self.queue.done(number)
                self._context.wakeup.call()

    def _publish(self, batch: Sequence[Message], sender: BatchSender) -> None:
        context = self._context
        try:
            # With `exactly_once`, a batch holds no two records of a row.
            outcomes = (
                sender.publish(batch)
                if context.settings.exactly_once
                else publish_in_row_order(batch, sender.publish)
            )
            for outcome in outcomes:
                judged = context.rejection_limit.judge(outcome)
                if isinstance(judged, Failed):
                    # Later batches of this topic must not overtake the failed one.
                    self.queue.close()
                context.report(self.topic_id, judged)
                if isinstance(judged, Failed):
                    return
        except Stopped:
            self.queue.close()
        except BaseException as exc:  # noqa: BLE001 - ends the run, in the main thread
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        """Report a failure, which ends the run, to the main thread."""
        self.queue.close()
        if not isinstance(exc, EventStreamsError):
            # The text of other exceptions may quote a payload.
            place = traceback.extract_tb(exc.__traceback__)[-1]
            where = f"{type(exc).__name__} in {place.name}, {place.filename}:{place.lineno}"
            exc = EventStreamsError(f"{self.label}: a worker failed ({where})")
        self._context.report(self.topic_id, Failed(exc))
