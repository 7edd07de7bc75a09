"""Publishes the batches of one topic in worker threads, while the main thread reads the input."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing

from ..event_streams.errors import EventStreamsError, Stopped
from ..plugin.command import describe
from ..plugin.wording import listed
from .batches import BatchBuilder, encode
from .client import PublishClient
from .context import PublishContext
from .messages import Failed, OutgoingMessage, Published, Rejected
from .sender import BatchSender
from .summary import Tally

# The memory that a message takes in addition to its body and its record.
MESSAGE_BYTES = 500


class BatchQueue:
    """Passes batches from the main thread to the workers of one topic, in order."""

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        self._waiting: deque[Sequence[OutgoingMessage]] = deque()
        self._started = 0
        self._in_flight: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        """Return the number of waiting batches."""
        return len(self._waiting)

    @property
    def memory(self) -> int:
        """The approximate memory of the waiting batches in bytes."""
        with self._changed:
            return sum(map(_memory, self._waiting))

    @property
    def busy(self) -> int:
        """The number of batches that wait or are in flight."""
        with self._changed:
            return len(self._waiting) + len(self._in_flight)

    @property
    def in_flight(self) -> int:
        """The number of batches that have been started but are not done."""
        return len(self._in_flight)

    def put(self, batch: Sequence[OutgoingMessage]) -> None:
        """Append a batch, or drop it if the queue is closed."""
        with self._changed:
            if batch and not self._closed:
                self._waiting.append(batch)
                self._changed.notify()

    def next_batch(self) -> tuple[int, Sequence[OutgoingMessage]] | None:
        """Wait for the next batch; return it and its number, or None if the queue is closed."""
        with self._changed:
            while not self._waiting or self._is_too_far_ahead:
                if self._closed:
                    return None
                self._changed.wait()
            number, batch = self._started, self._waiting.popleft()
            self._started += 1
            self._in_flight.add(number)
        return number, batch

    def done(self, number: int) -> None:
        """Mark a batch as done: all of its outcomes have been reported."""
        with self._changed:
            self._in_flight.remove(number)
            self._changed.notify_all()

    def drop_from(self, sequence: int) -> None:
        """Drop the waiting messages from a sequence number on."""
        with self._changed:
            batches = [[m for m in batch if m.sequence < sequence] for batch in self._waiting]
            self._waiting = deque(batch for batch in batches if batch)

    def close(self) -> None:
        """Accept no more batches, and drop the waiting ones."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    @property
    def _is_too_far_ahead(self) -> bool:
        """Whether the next batch has to wait for the oldest one, although a worker is free.

        Otherwise the other workers would continue while one batch is retried, and everything that
        they publish would be out of order, and duplicated after a kill.
        """
        oldest = min(self._in_flight, default=self._started)
        return self._started - oldest >= self.max_in_flight


def _memory(batch: Sequence[OutgoingMessage]) -> int:
    # A record that was mapped or got a key is kept next to its payload, for the dead-letter file.
    kept = sum([len(m.record.text) for m in batch if m.record.text is not m.body])
    return kept + sum([len(m.body) for m in batch]) + len(batch) * MESSAGE_BYTES


class TopicProducer:
    """The batches of one topic and their workers; its public methods are for the main thread."""

    def __init__(self, topic_id: int, context: PublishContext) -> None:
        self.topic_id = topic_id
        self.delivery = context.deliver(topic_id)
        self.is_open = False  # whether the delivery has been prepared for the topic
        # Names in the order of their first record, and in a dry run, the messages of each stream.
        self.streams: dict[str, int] = {}
        self.tally = Tally()  # counts of the main thread
        self.queue = BatchQueue(context.settings.max_in_flight)
        self._context = context
        # Records that are not compared yet, and the time since which the first one has waited.
        self._chunk: list[OutgoingMessage] = []
        self._waits_since = 0.0
        self._builder = BatchBuilder(context.settings.batch, self.delivery.batch_key)
        self._senders: list[BatchSender] = []
        self._workers: list[threading.Thread] = []

    @property
    def label(self) -> str:
        """The topic and its streams, for errors and the summary."""
        # In a dry run, topics that would be created have negative ids.
        topic = f"topic {self.topic_id}" if self.topic_id > 0 else "a new topic"
        return f"{listed([*self.streams])} ({topic})"

    @property
    def total(self) -> Tally:
        """The counts of the main thread and of all workers."""
        total = Tally.total([self.tally, *(sender.tally for sender in self._senders)])
        total.requests += self.delivery.requests
        return total

    @property
    def failing(self) -> bool:
        """Whether a request of the topic is being retried."""
        return any(sender.failing for sender in self._senders)

    @property
    def due_at(self) -> float:
        """The time on the monotonic clock at which the batch under construction is due.

        Infinite if it is empty, or if it has to wait for other batches and can still grow.
        """
        if self.queue or not (self._chunk or self._builder.messages):
            return math.inf
        times = [self._waits_since] if self._chunk else []
        times += [self._builder.started_at] if self._builder.messages else []
        return min(times) + self._context.settings.batch.max_age_secs

    @property
    def idle(self) -> bool:
        """Whether no batch waits or is in flight, apart from those of a failed worker."""
        return not self.queue.busy or not any(worker.is_alive() for worker in self._workers)

    def add(self, message: OutgoingMessage) -> Sequence[OutgoingMessage]:
        """Add a message to the batch under construction; return those that need no publishing."""
        if not self._chunk:
            self._waits_since = time.monotonic()
        self._chunk.append(message)
        return self.compare() if len(self._chunk) >= self.delivery.chunk_rows else ()

    def compare(self) -> Sequence[OutgoingMessage]:
        """Add the messages whose rows have changed to batches, and return the others."""
        chunk, self._chunk = self._chunk, []
        wanted, unchanged = self.delivery.select(chunk)
        for message in wanted:
            for batch in self._builder.add(message, self._waits_since):
                self.submit(batch)
        self.tally.unchanged += len(chunk) - len(wanted)
        return unchanged

    def submit_open(self) -> Sequence[OutgoingMessage]:
        """Close and queue the batch under construction; returns what `compare` does."""
        unchanged = self.compare() if self._chunk else ()
        self.submit(self._builder.pop_batch())
        return unchanged

    def submit(self, batch: Sequence[OutgoingMessage]) -> None:
        """Queue a batch, and start a worker if none is free; a dry run only counts it."""
        if self._context.settings.dry_run:
            if batch:
                self.tally.requests += 1
                self.tally.body_bytes += len(encode([message.body for message in batch]))
                self._context.report(self.topic_id, Published(batch))
            return
        self.queue.put(batch)
        if batch and len(self._workers) < min(self.queue.busy, self.queue.max_in_flight):
            self._start_worker()

    def drop_from(self, sequence: int) -> None:
        """Drop the messages from a sequence number on, except those in flight."""
        self.queue.drop_from(sequence)
        self._chunk = [message for message in self._chunk if message.sequence < sequence]
        batch = self._builder.pop_batch()
        self.submit([message for message in batch if message.sequence < sequence])

    def close(self, *, join: bool) -> None:
        """Accept no more batches, drop the waiting ones, and join the workers if they are idle."""
        self.queue.close()
        for worker in self._workers if join else ():
            worker.join()

    def _start_worker(self) -> None:
        try:
            client = self._context.connect(self.topic_id)
            sender = BatchSender(client, self._context, self.delivery)
            # A daemon thread, so that the end of a run does not wait for a service that hangs.
            worker = threading.Thread(target=self._work, args=(client, sender), daemon=True)
            worker.start()
            self._senders.append(sender)
            self._workers.append(worker)
        except Exception as exc:  # noqa: BLE001 - ends the run
            self._fail(exc)

    def _work(self, client: PublishClient, sender: BatchSender) -> None:
        with closing(client.session):
            while following := self.queue.next_batch():
                number, batch = following
                self._context.wakeup.call()  # there is room for another one
                client.session.subject = self.label  # more streams may have been routed to it
                began = time.monotonic()
                self._publish(batch, sender)
                if latency := self._context.latency:
                    latency.observe(time.monotonic() - began)
                # Only now, because the topic must not seem idle before the outcome is reported.
                self.queue.done(number)
                self._context.wakeup.call()

    def _publish(self, batch: Sequence[OutgoingMessage], sender: BatchSender) -> None:
        count = self._context.rejection_limit.count
        try:
            for outcome in sender.publish(batch):
                reported = count(outcome) if isinstance(outcome, Rejected) else outcome
                if isinstance(reported, Failed):
                    # Later batches of this topic must not overtake the failed one.
                    self.queue.close()
                    self._context.report(self.topic_id, reported)
                    return
                self._context.report(self.topic_id, reported)
        except Stopped:
            self.queue.close()
        except BaseException as exc:  # noqa: BLE001 - ends the run, in the main thread
            self._fail(exc)

    def _fail(self, exc: BaseException) -> None:
        self.queue.close()
        if isinstance(exc, EventStreamsError):
            error = exc
        else:
            error = EventStreamsError(f"{self.label}: a worker failed: {describe(exc)}")
            error.__cause__ = exc
        self._context.report(self.topic_id, Failed(error))
