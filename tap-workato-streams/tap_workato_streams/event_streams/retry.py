"""The retry policy of all requests: which errors are retried, how often, and for how long."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import backoff

from . import CONNECTOR
from .errors import GaveUp, Unavailable
from .rate_limiter import PauseTooLong

if TYPE_CHECKING:
    from collections.abc import Callable

    from .rate_limiter import RateLimiter

T = TypeVar("T")

logger = logging.getLogger(CONNECTOR)

FIRST_WAIT_SECS = 0.5
LONGEST_WAIT_SECS = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """Retries requests that failed for a transient reason, within the rate limit.

    Attributes:
        limiter: The rate limiter of the process; each attempt acquires it.
        max_retry_secs: The maximum time in total for which a request is retried, including waits
            and pauses after a 429. Waiting for ``max_requests_per_minute`` does not count.
    """

    limiter: RateLimiter
    max_retry_secs: float

    def call(self, request: Callable[[], T]) -> T:
        """Call a function that sends a request, until it succeeds or the time is used up.

        Any exception of the function except ``Unavailable`` propagates unchanged.

        Raises:
            GaveUp: Retries took longer than ``max_retry_secs``.
            Stopped: The run is being stopped.
        """
        try:
            with self.limiter.acquire():
                return request()
        except GaveUp:
            raise  # Raised by a nested request, which has already used up its time.
        except Unavailable as exc:
            return self._retry(request, exc)

    def _retry(self, request: Callable[[], T], error: Unavailable) -> T:
        waits = backoff.expo(factor=FIRST_WAIT_SECS, max_value=LONGEST_WAIT_SECS)
        next(waits)  # The first value of backoff's generators is None.
        spent = 0.0
        while True:
            pause = max(error.retry_after or 0.0, self.limiter.pause_secs)
            if spent + pause >= self.max_retry_secs:
                raise self._gave_up(error, spent) from error
            wait = max(random.uniform(0, next(waits)), error.retry_after or 0.0)  # noqa: S311 - no secret
            wait = min(wait, self.max_retry_secs - spent)
            logger.warning("%s; retrying in %.1f s", error, max(wait, pause))
            self.limiter.sleep(wait)
            spent += wait
            try:
                # The rest of a pause is spent here, so that requests keep their order.
                with self.limiter.acquire(self.max_retry_secs - spent) as paused:
                    spent += paused
                    began = time.monotonic()
                    return request()
            except PauseTooLong:
                raise self._gave_up(error, spent) from error
            except GaveUp:
                raise
            except Unavailable as exc:
                spent += time.monotonic() - began
                error = exc

    def _gave_up(self, error: Unavailable, spent: float) -> GaveUp:
        asked = f", asked to wait {error.retry_after:.0f} s" if error.retry_after else ""
        return GaveUp(
            f"{error}; gave up after {spent:.0f} s{asked} "
            f"(max_retry_secs is {self.max_retry_secs:g})",
            status=error.status,
            reason=error.reason,
            retry_after=error.retry_after,
            sent=error.sent,
        )
