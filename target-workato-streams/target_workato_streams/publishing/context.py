"""What the producers of all topics share: settings, limits of rejections, and the wakeup."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..delivery import Delivery
from ..delivery.store import Store
from ..event_streams.errors import EventStreamsError
from ..event_streams.rate_limiter import RateLimiter
from .batches import BatchSettings
from .client import PublishClient
from .messages import Failed, Outcome, OutgoingMessage, Payload, Rejected

if TYPE_CHECKING:
    from prometheus_client import Histogram

T = TypeVar("T")


class Wakeup:
    """A pipe to wait on; any thread or signal handler may write to it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._called = False
        # Reentrant: a signal handler may interrupt a call of its own thread.
        self._lock = threading.RLock()

    def call(self) -> None:
        """Wake the main thread, now or the next time it waits."""
        with self._lock:
            if not self._called:
                self._called = True
                os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget previous calls; callers must check for new events only after this."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        # Last, so that a call before this line is either seen by the check that follows, or wakes
        # the main thread once more than necessary.
        self._called = False

    def wait(self, timeout: float, *, readable: int | None, writable: int | None) -> bool:
        """Wait for a call or one of the descriptors; return whether `readable` is readable."""
        inputs = [self._reader] if readable is None else [self._reader, readable]
        outputs = [] if writable is None else [writable]
        return readable in select.select(inputs, outputs, [], timeout)[0]

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Run a function in a daemon thread, and wake the main thread when it is done."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as exc:  # noqa: BLE001 - raised again by Future.result
                future.set_exception(exc)
            self.call()

        threading.Thread(target=run, daemon=True).start()
        return future

    def close(self) -> None:
        """Close the pipe; a later call, by a signal handler or a worker, does nothing."""
        with self._lock:
            self._called = True
            os.close(self._reader)
            os.close(self._writer)


# The time in seconds for which a failed entry is retried, since its reason may be transient.
RETRY_SECS = 10.0
FIRST_WAIT_SECS = 0.2
LONGEST_WAIT_SECS = 4.0
# The number of attempts if the same reason has persisted for other messages.
PERSISTENT_TRIES = 2


class EntryRetries:
    """The retry policy for failed entries of accepted batches; thread-safe."""

    def __init__(self, max_secs: float) -> None:
        self._max_secs = min(max_secs, RETRY_SECS)
        self._persistent: set[str] = set()

    def record_failure(self, reason: str, failed_at: float, tries: int) -> bool:
        """Record a failure, the first at a monotonic time; return whether to retry the entry."""
        kind = re.sub(r"\d+", "#", reason)  # the same for several messages
        if kind in self._persistent:
            return tries < PERSISTENT_TRIES
        if time.monotonic() - failed_at < self._max_secs:
            return True
        self._persistent.add(kind)
        return False

    def next_try_at(self, tries: int) -> float:
        """Return the monotonic time at which to resend entries that have failed just now."""
        wait = min(FIRST_WAIT_SECS * 2.0**tries, LONGEST_WAIT_SECS)
        return time.monotonic() + random.uniform(0.5, 1) * wait  # noqa: S311 - no secret


class RejectionLimit:
    """Counts the rejected messages of all topics, up to a maximum if there is one; thread-safe."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def count(self, rejected: Rejected) -> Rejected | Failed:
        """Count a rejected message; return it, or the failure if there are too many."""
        if self._left is None:
            return rejected
        with self._lock:
            self._left -= 1
            if self._left >= 0:
                return rejected
        status = f" (status {rejected.status})" if rejected.status else ""
        error = EventStreamsError(
            f"{rejected.message.record}: rejected: {rejected.reason}{status}; fix the record, or "
            "set on_rejected to dead_letter and max_rejected high enough"
        )
        return Failed(error, rejected)


@dataclass(frozen=True)
class PublishSettings:
    """The settings for publishing."""

    payload: Payload
    batch: BatchSettings
    max_in_flight: int
    max_retry_secs: float
    max_rejected: int | None = 0  # None for no maximum
    dead_letter_path: Path | None = None  # None if a rejected message ends the run
    dry_run: bool = False  # counts messages and requests, and sends nothing
    max_requests_per_minute: int | None = None  # for the estimate of a dry run


@dataclass
class PublishContext:
    """What the producers of all topics share."""

    settings: PublishSettings
    connect: Callable[[int], PublishClient]  # opens a connection to a topic, for one worker
    limiter: RateLimiter
    deliver: Callable[[int], Delivery[OutgoingMessage]]  # creates the delivery of a topic
    store: Store | None = None  # of published rows
    latency: Histogram | None = None  # None if metrics are not served
    rejection_limit: RejectionLimit = field(init=False)
    entry_retries: EntryRetries = field(init=False)
    # For the main thread, with their topic ids.
    outcomes: deque[tuple[int, Outcome]] = field(init=False, default_factory=deque)
    # Called when there is an outcome, or room for another batch.
    wakeup: Wakeup = field(init=False, default_factory=Wakeup)

    def __post_init__(self) -> None:
        """Create what depends on the settings."""
        self.rejection_limit = RejectionLimit(self.settings.max_rejected)
        self.entry_retries = EntryRetries(self.settings.max_retry_secs)

    def report(self, topic_id: int, outcome: Outcome) -> None:
        """Report an outcome to the main thread."""
        self.outcomes.append((topic_id, outcome))
        self.wakeup.call()
