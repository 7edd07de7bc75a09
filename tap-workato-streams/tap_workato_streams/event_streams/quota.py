"""The quota of requests per minute, for this process or for all processes that share a store."""

from __future__ import annotations

import time
from typing import cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from .shared_quota import SharedQuota

# A minute and a second, because requests that are sent a minute apart may arrive closer together.
WINDOW_SECS = 61.0


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


def open_quota(max_requests_per_minute: int, quota_url: str | None) -> LocalQuota | SharedQuota:
    """Create the quota from the settings."""
    if quota_url is None:
        return LocalQuota(max_requests_per_minute, WINDOW_SECS)
    return SharedQuota(quota_url, max_requests_per_minute, WINDOW_SECS)
