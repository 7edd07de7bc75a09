"""Publishes the batches of one topic, while the main thread reads on."""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import closing
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError, Stopped
from .batch_sender import BatchSender
from .batches import BatchBuilder
from .exactly_once_batches import ExactlyOnceBatchBuilder
from .messages import Failed, Published, Rejected
from .row_order import publish_in_row_order
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .context import PublishContext
    from .lost_responses import LostResponses
    from .messages import Message, Outcome
    from .publish_client import PublishClient

# How many streams of a topic are named in a line.
MAX_NAMES = 5
# What a message takes in memory besides its body and its record.
MESSAGE_BYTES = 500


class TopicProducer:
    """The batches of one topic, and the workers that publish them.

    The methods are for the main thread, except those that begin with an underscore and take a
    client: these run in a worker.

    Args:
        topic_id: The topic.
        context: What the producers of all topics share.

    Attributes:
        builder: The batch under construction.
        streams: The names of the streams that are published to this topic.
        tally: What the main thread counts.
        lost_responses: What looks up the topic before messages are sent again, with
            `exactly_once`.
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
        self._worker_tallies: list[Tally] = []
        self._senders: list[BatchSender] = []
        self._context = context
        self._max_in_flight = context.settings.max_in_flight
        self._waiting: deque[Sequence[Message]] = deque()
        self._submitted_bytes = 0
        self._taken_bytes = 0
        self._taken = 0
        self._in_flight: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False
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
        return Tally.total([self.tally, *self._worker_tallies])

    @property
    def full(self) -> bool:
        """Whether enough batches wait; reading should pause."""
        return len(self._waiting) > self._max_in_flight

    @property
    def waiting_bytes(self) -> int:
        """How much memory the batches that wait take, roughly."""
        return self._submitted_bytes - self._taken_bytes

    @property
    def failing(self) -> bool:
        """Whether a request of the topic is being retried."""
        return any(sender.failing for sender in self._senders)

    @property
    def due_at(self) -> float | None:
        """When the batch under construction is due, on the monotonic clock.

        None if it is empty, or has to wait for others anyway and can continue to fill.
        """
        return self.builder.due_at if self.builder.messages and not self._waiting else None

    @property
    def idle(self) -> bool:
        """Whether no batch waits or is in flight."""
        with self._changed:
            busy = self._waiting or self._in_flight
            # A worker that has died is not waited for.
            return not busy or not any(worker.is_alive() for worker in self._workers)

    @property
    def in_flight(self) -> int:
        """How many batches have been sent and are not acknowledged."""
        return len(self._in_flight)

    def add(self, message: Message) -> bool:
        """Add a message to the batch under construction.

        Returns:
            Whether that has completed a batch.
        """
        batches = self.builder.add(message)
        for batch in batches:
            self.submit(batch)
        return bool(batches)

    def submit_open(self) -> None:
        """Close and queue the batch under construction."""
        while batch := self.builder.close():
            self.submit(batch)

    def submit(self, batch: Sequence[Message]) -> None:
        """Queue a batch."""
        with self._changed:
            if not batch or self._closed:
                return
            self._waiting.append(batch)
            self._submitted_bytes += _memory(batch)
            self._changed.notify()
            wanted = min(len(self._in_flight) + len(self._waiting), self._max_in_flight)
        if len(self._workers) < wanted:
            self._start_worker()

    def drop_from(self, sequence: int) -> None:
        """Drop the messages from a position on, except those in flight."""
        with self._changed:
            batches = [[m for m in b if m.sequence < sequence] for b in self._waiting]
            self._waiting = deque(filter(None, batches))
        while batch := self.builder.close():
            self.submit([message for message in batch if message.sequence < sequence])

    def close(self) -> None:
        """Accept no more batches, drop those that wait, and let the workers end."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the workers have ended."""
        for worker in self._workers:
            worker.join()

    def _start_worker(self) -> None:
        tally = Tally()
        try:
            client = self._context.connect(self.topic_id)
            sender = BatchSender(client, tally, self._context.entry_retries, self.lost_responses)
            # A daemon thread, so that the end of a run does not wait for a service that hangs.
            worker = threading.Thread(target=self._work, args=(client, sender), daemon=True)
            worker.start()
        except Exception as exc:  # noqa: BLE001 - ends the run
            self._fail(exc)
            return
        self._worker_tallies.append(tally)
        self._senders.append(sender)
        self._workers.append(worker)

    def _work(self, client: PublishClient, sender: BatchSender) -> None:
        with closing(client):
            while taken := self._take():
                number, batch = taken
                client.session.subject = self.label  # more streams may have been routed to it
                began = time.monotonic()
                self._publish(batch, sender)
                self._context.latency.observe(time.monotonic() - began)
                # After its outcome was reported: the topic must not seem idle before that.
                with self._changed:
                    self._in_flight.remove(number)
                    self._changed.notify_all()
                self._context.wakeup.call()

    def _take(self) -> tuple[int, Sequence[Message]] | None:
        with self._changed:
            while not self._waiting or self._too_far_ahead:
                if self._closed:
                    return None
                self._changed.wait()
            number, batch = self._taken, self._waiting.popleft()
            self._taken += 1
            self._taken_bytes += _memory(batch)
            self._in_flight.add(number)
        self._context.wakeup.call()
        return number, batch

    @property
    def _too_far_ahead(self) -> bool:
        """Whether the next batch has to wait for the oldest one, although a worker is free.

        Otherwise the other workers would continue while one batch is retried, and all that they
        publish would be duplicated after a kill, and out of order by as much.
        """
        oldest = min(self._in_flight, default=self._taken)
        return self._taken - oldest >= self._max_in_flight

    def _publish(self, batch: Sequence[Message], sender: BatchSender) -> None:
        try:
            for outcome in publish_in_row_order(batch, sender.publish):
                judged: Outcome = outcome
                if isinstance(outcome, Rejected):
                    judged = self._context.rejection_limit.judge(outcome)
                elif self.lost_responses is not None:
                    judged = Published(outcome.messages, self.lost_responses.position)
                if isinstance(judged, Failed):
                    # What follows in this topic must not overtake it.
                    self.close()
                    self._context.report(self.topic_id, judged)
                    return
                self._context.report(self.topic_id, judged)
        except Stopped:
            self.close()
        except BaseException as exc:  # noqa: BLE001 - ends the run, in the main thread
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        """Report to the main thread what ends the run."""
        self.close()
        if not isinstance(exc, EventStreamsError):
            # The text of other exceptions may quote a payload.
            exc = EventStreamsError(f"{self.label}: a worker failed ({type(exc).__name__})")
        self._context.report(self.topic_id, Failed(exc))


def _memory(batch: Sequence[Message]) -> int:
    return sum(len(message.body) + MESSAGE_BYTES for message in batch)
