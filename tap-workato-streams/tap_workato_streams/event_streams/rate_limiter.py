"""The rate limiter of the process.

The quota belongs to the workspace: all topics, retries and long polls share it.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from .errors import ServiceError, Stopped
from .quota import WINDOW_SECS, LocalQuota, SharedQuota

TOO_MANY_REQUESTS = 429
LONGEST_PAUSE_SECS = 60.0
# After a 429, requests are sent one by one with this interval until one succeeds. A 429 arrives
# immediately, so a request that is still open after this time (a long poll) was accepted.
CAREFUL_SECS = 1.0
# Shorter waits are not counted in the metrics.
SHORT_WAIT_SECS = 0.01


class PauseTooLong(Exception):
    """A pause after a 429 is longer than the caller can wait."""


@dataclass
class RequestStats:
    """The statistics of all requests that share a rate limiter, for the metrics."""

    by_status: Counter[str] = field(default_factory=Counter)  # "none" without a response
    retries: int = 0
    quota_waits: int = 0  # requests that waited for the quota, or for the end of a pause
    quota_wait_secs: float = 0.0  # how long they waited in total


class RateLimiter:
    """Admits requests in the order of their arrival, at the rate that the workspace allows.

    ``quota_url`` is the store in which all processes count their requests; without one, the maximum
    only applies to this process.
    """

    def __init__(
        self, max_requests_per_minute: int | None = None, quota_url: str | None = None
    ) -> None:
        self.stats = RequestStats()
        self._quota: LocalQuota | SharedQuota | None = None
        if max_requests_per_minute is not None:
            self._quota = (
                SharedQuota(quota_url, max_requests_per_minute, WINDOW_SECS)
                if quota_url
                else LocalQuota(max_requests_per_minute)
            )
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._not_before = 0.0
        self._next_at = 0.0
        self._paused_at = 0.0
        self._throttled = 0
        self._stopped = False
        self._succeeded_at = -math.inf

    @property
    def pause_secs(self) -> float:
        """The remaining seconds of a pause after a 429."""
        return max(0.0, self._not_before - time.monotonic())

    @property
    def waiting(self) -> str:
        """What requests are waiting for, as the end of a line about progress; or nothing."""
        secs = math.ceil(self._next_at - time.monotonic())
        return f", waiting for the quota: the next request in {secs} s" if secs > 0 else ""

    @contextmanager
    def acquire(self, max_pause_secs: float | None = None) -> Iterator[float]:
        """Wait until a request may be sent; the block of the ``with`` statement sends it.

        If the block raises a ``ServiceError`` with status 429, all requests pause until the time
        given by the service or, if it gives none, for a time that grows with each 429.

        Yields the seconds for which this request waited for a pause, since the last success. Raises
        ``PauseTooLong`` if they would exceed ``max_pause_secs``, and ``Stopped`` after ``stop``.
        """
        sent_at, paused = self._wait(max_pause_secs)
        try:
            yield paused
        except ServiceError as exc:
            if exc.status == TOO_MANY_REQUESTS:
                with self._changed:
                    self._pause(exc.retry_after, sent_at)
            raise
        with self._changed:
            self._succeeded_at = time.monotonic()
            if self._throttled and sent_at > self._paused_at:
                self._throttled = 0
                self._not_before = 0.0
                self._changed.notify_all()

    def secs_without_success(self) -> float:
        """Return the seconds since the last request of the process that succeeded."""
        return time.monotonic() - self._succeeded_at

    def check(self) -> None:
        """Raise ``Stopped`` if ``stop`` was called."""
        if self._stopped:
            raise Stopped("the run is being stopped")

    def count(self, status: int | None) -> None:
        """Count a request by the status of its response; None if there is none."""
        with self._changed:
            self.stats.by_status[str(status or "none")] += 1

    def sleep(self, secs: float) -> None:
        """Wait for this many seconds before a retry, or until ``stop``."""
        self.stats.retries += 1
        until = time.monotonic() + secs
        with self._changed:
            while not self._stopped and (left := until - time.monotonic()) > 0:
                self._changed.wait(min(left, LONGEST_PAUSE_SECS))

    def stop(self) -> None:
        """Wake all waiting requests, and admit no more."""
        if isinstance(self._quota, SharedQuota):
            self._quota.stop()  # first, since the thread that waits for a store has the lock
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _wait(self, max_pause_secs: float | None) -> tuple[float, float]:
        """Wait; return the time at which the wait ended, and the seconds spent in pauses."""
        asked_at = time.monotonic()
        ticket = object()
        paused = 0.0
        with self._changed:
            self._queue.append(ticket)
            try:
                while not self._stopped:
                    now = time.monotonic()
                    paused = min(paused, now - self._succeeded_at)
                    pause = max(0.0, self._not_before - now)
                    if pause and max_pause_secs is not None and paused + pause > max_pause_secs:
                        raise PauseTooLong
                    if self._queue[0] is not ticket:
                        self._changed.wait()
                    elif (delay := pause or (self._quota.take() if self._quota else 0.0)) > 0:
                        self._next_at = time.monotonic() + delay
                        self._changed.wait(min(delay, LONGEST_PAUSE_SECS))
                    else:
                        self._next_at = 0.0
                        return self._admitted(asked_at), paused
                    paused += min(pause, time.monotonic() - now)
                raise Stopped("the run is being stopped")
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _admitted(self, asked_at: float) -> float:
        now = time.monotonic()
        if self._throttled:
            self._not_before = now + CAREFUL_SECS
        if now - asked_at > SHORT_WAIT_SECS:
            self.stats.quota_waits += 1
            self.stats.quota_wait_secs += now - asked_at
        return now

    def _pause(self, secs: float | None, sent_at: float) -> None:
        now = time.monotonic()
        # 429s for requests that were in flight at the first 429 do not extend the pause.
        if sent_at > self._paused_at:
            self._throttled += 1
            self._paused_at = now
        if secs is None:
            longest = min(LONGEST_PAUSE_SECS, 2.0 ** (self._throttled - 1))
            secs = random.uniform(longest / 2, longest)  # noqa: S311 - no secret
        else:
            # Add a random delay, because other processes on the quota wait for the same time.
            secs += random.uniform(0, min(1.0, secs / 10))  # noqa: S311 - no secret
        self._not_before = max(self._not_before, now + secs)
