"""Rejected messages: their retries, their maximum number, and their log lines."""

from __future__ import annotations

import logging
import random
import re
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError
from .messages import Failed, Rejected

if TYPE_CHECKING:
    from ..event_streams.rate_limiter import RateLimiter
    from .messages import Outcome, Published

logger = logging.getLogger("target-workato-streams")

# The time in seconds for which a failed entry is retried, since its reason may be transient.
RETRY_SECS = 10.0
FIRST_WAIT_SECS = 0.2
LONGEST_WAIT_SECS = 4.0
# The number of attempts if the same reason has persisted for other messages.
PERSISTENT_TRIES = 2
# The number of rejections for one reason after which a warning is logged.
MANY = 100


def _kind(reason: str) -> str:
    """Return the part of a reason that is the same for several messages."""
    return re.sub(r"\d+", "#", reason)


class EntryRetries:
    """The retry policy for failed entries of accepted batches; thread-safe.

    Args:
        limiter: The rate limiter, which ends a wait when the run is stopped.
        max_secs: The maximum time in seconds of retries, at most `RETRY_SECS`.
    """

    def __init__(self, limiter: RateLimiter, max_secs: float) -> None:
        self._limiter = limiter
        self._max_secs = min(max_secs, RETRY_SECS)
        self._persistent: set[str] = set()

    def may_retry(self, reason: str, failed_at: float, tries: int) -> bool:
        """Whether a failed entry is retried.

        Args:
            reason: The reason of the failure.
            failed_at: The time of the first failure, on the monotonic clock.
            tries: The number of attempts so far.
        """
        kind = _kind(reason)
        if kind in self._persistent:
            return tries < PERSISTENT_TRIES
        if time.monotonic() - failed_at < self._max_secs:
            return True
        self._persistent.add(kind)
        return False

    def wait(self, tries: int) -> None:
        """Wait before resending failed entries."""
        wait = min(FIRST_WAIT_SECS * 2**tries, LONGEST_WAIT_SECS)
        self._limiter.sleep(random.uniform(0.5, 1) * wait)  # noqa: S311 - no secret


class RejectionLimit:
    """Counts the rejected messages of all topics; thread-safe.

    Args:
        limit: The maximum number of rejected messages; None for no maximum.
    """

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def judge(self, outcome: Published | Rejected) -> Outcome:
        """Count a rejected message.

        Returns:
            The failure if there are too many; otherwise the outcome itself.
        """
        if isinstance(outcome, Rejected) and self._left is not None:
            with self._lock:
                self._left -= 1
                if self._left < 0:
                    return _too_many(outcome)
        return outcome


def _too_many(rejected: Rejected) -> Failed:
    status = f" (status {rejected.status})" if rejected.status else ""
    error = EventStreamsError(
        f"{rejected.message.record}: rejected: {rejected.reason}{status}; fix the record, or set "
        "on_rejected to dead_letter and max_rejected high enough"
    )
    return Failed(error, rejected)


class RejectionLog:
    """Logs the first rejected message of each topic, and reasons that keep occurring."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._topics: set[str] = set()

    def add(self, rejected: Rejected, label: str) -> None:
        """Log a message that was written to the dead-letter file, if necessary.

        Args:
            rejected: The message.
            label: The topic and its streams.
        """
        if label not in self._topics:
            self._topics.add(label)
            logger.warning(
                "%s: rejected and written to the dead-letter file: %s; the summary counts further "
                "rejections",
                rejected.message.record,
                rejected.reason,
            )
        reason = (label, _kind(rejected.reason))
        self._counts[reason] += 1
        if self._counts[reason] == MANY:
            logger.warning(
                "%s: %d messages have been rejected for the same reason: %s; check the schema of "
                "the topic, or set max_rejected so that the run ends earlier",
                label,
                MANY,
                rejected.reason,
            )
