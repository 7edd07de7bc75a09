"""The queue of the batches of one topic."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .messages import Message

# The memory that a message takes in addition to its body and its record.
MESSAGE_BYTES = 500


class BatchQueue:
    """Passes batches from the main thread to the workers of one topic, in order.

    Args:
        max_in_flight: Maximum number of batches that are published concurrently.
    """

    def __init__(self, max_in_flight: int) -> None:
        self.max_in_flight = max_in_flight
        # With the memory of each.
        self._waiting: deque[tuple[Sequence[Message], int]] = deque()
        self._taken = 0
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
            return sum(memory for _, memory in self._waiting)

    @property
    def busy(self) -> int:
        """The number of batches that wait or are in flight."""
        with self._changed:
            return len(self._waiting) + len(self._in_flight)

    @property
    def in_flight(self) -> int:
        """The number of batches that have been taken but are not done."""
        return len(self._in_flight)

    def put(self, batch: Sequence[Message]) -> None:
        """Append a batch, or drop it if the queue is closed."""
        with self._changed:
            if batch and not self._closed:
                self._waiting.append((batch, _memory(batch)))
                self._changed.notify()

    def take(self) -> tuple[int, Sequence[Message]] | None:
        """Wait for the next batch; return it and its number, or None if the queue is closed."""
        with self._changed:
            while not self._waiting or self._is_too_far_ahead:
                if self._closed:
                    return None
                self._changed.wait()
            number, (batch, _) = self._taken, self._waiting.popleft()
            self._taken += 1
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
            batches = [[m for m in batch if m.sequence < sequence] for batch, _ in self._waiting]
            self._waiting = deque((batch, _memory(batch)) for batch in batches if batch)

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
        oldest = min(self._in_flight, default=self._taken)
        return self._taken - oldest >= self.max_in_flight


def _memory(batch: Sequence[Message]) -> int:
    # A record that was mapped or got a key is kept next to its payload, for the dead-letter file.
    kept = sum([len(m.record.text) for m in batch if m.record.text is not m.body])
    return kept + sum([len(m.body) for m in batch]) + len(batch) * MESSAGE_BYTES
