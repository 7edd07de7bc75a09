"""A quota that only counts the requests of this process."""

from __future__ import annotations

import time
from typing import cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem


class LocalQuota:
    """The requests of one process; not thread-safe.

    Args:
        max_requests: The maximum number of requests in a window.
        window_secs: The length of the window.
    """

    def __init__(self, max_requests: int, window_secs: float) -> None:
        self._bucket = InMemoryBucket([Rate(max_requests, round(window_secs * 1000))])

    def take(self) -> float:
        """Count a request, unless the quota is used up.

        Returns:
            0.0 if the request may be sent; otherwise the seconds after which to try again.
        """
        item = RateItem("request", time.monotonic_ns() // 1_000_000)
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            return 0.0
        return (cast("int", self._bucket.waiting(item)) + 1) / 1000

    def stop(self) -> None:
        """Do nothing: taking never waits."""
