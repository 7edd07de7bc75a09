"""How a request is tried again, within the limiter of the process."""

from __future__ import annotations

import functools
import random
import time
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import backoff

from .errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from backoff.types import Details

    from .rate_limiter import RateLimiter

P = ParamSpec("P")
T = TypeVar("T")

LONGEST_WAIT_SECS = 30.0


def retrying(
    limiter: RateLimiter,
    *,
    max_retry_secs: float,
    on_retry: Callable[[Unavailable, float], None],
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorate a request so that each attempt takes a turn, and what is transient is tried again.

    Args:
        limiter: The limiter of the process.
        max_retry_secs: The seconds that one request may be retried in all: those of its attempts
            after the first and of the waits between them. Waiting for a turn does not count.
        on_retry: Called before each wait with what went wrong and the seconds to wait.

    Returns:
        A decorator. The decorated call raises ``Unavailable`` once the time is used up, and at
        once what its function raises else.
    """

    def decorate(request: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(request)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            spent = 0.0
            attempts = 0
            growing = backoff.expo(factor=0.5, max_value=LONGEST_WAIT_SECS)
            next(growing)  # backoff's generators begin with a None

            def attempt() -> T:
                nonlocal spent, attempts
                with limiter.acquire():
                    began = time.monotonic()
                    attempts += 1
                    try:
                        return request(*args, **kwargs)
                    except Unavailable:
                        if attempts > 1:
                            spent += time.monotonic() - began
                        raise

            def used_up(exc: Exception) -> bool:
                assert isinstance(exc, Unavailable)  # noqa: S101
                return spent + (exc.retry_after or 0) >= max_retry_secs

            def rest(details: Details) -> None:
                nonlocal spent
                exc = details["exception"]
                assert isinstance(exc, Unavailable)  # noqa: S101
                wait = max(random.uniform(0, next(growing)), exc.retry_after or 0.0)  # noqa: S311
                wait = min(wait, max_retry_secs - spent)
                spent += wait
                on_retry(exc, wait)
                # Not in backoff's own sleep, which nothing can wake.
                limiter.sleep(wait)

            try:
                return backoff.on_exception(
                    backoff.constant,
                    Unavailable,
                    interval=0,
                    jitter=None,
                    giveup=used_up,
                    on_backoff=rest,
                    logger=None,
                )(attempt)()
            except Unavailable as exc:
                named = f", told to wait {exc.retry_after:.0f} s" if exc.retry_after else ""
                limit = f"max_retry_secs is {max_retry_secs:g}"
                raise Unavailable(
                    f"{exc}; given up after {spent:.0f} s{named} ({limit})",
                    status=exc.status,
                    reason=exc.reason,
                    retry_after=exc.retry_after,
                ) from exc

        return call

    return decorate
