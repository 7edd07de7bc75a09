"""Which messages the service has rejected for good, and how many of them a run tolerates."""

from __future__ import annotations

import random
import re
import threading
import time

from ..event_streams.errors import EventStreamsError
from .messages import Failed, Rejected

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
            "set dead_letter_path, and max_rejected high enough"
        )
        return Failed(error, rejected)
