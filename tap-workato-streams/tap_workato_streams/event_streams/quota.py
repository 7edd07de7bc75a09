"""The quota of requests per minute, for this process or for all processes that share a store."""

from __future__ import annotations

from typing import Protocol

# A minute and a second: requests sent a minute apart may arrive closer together than that.
WINDOW_SECS = 61.0


class Quota(Protocol):
    """Counts requests, for this process or for all processes that share a store."""

    def take(self) -> float:
        """Count a request and return 0.0, or return the seconds after which to try again."""

    def stop(self) -> None:
        """Wake the thread that is in ``take``."""


def open_quota(max_requests_per_minute: int | None, quota_url: str | None) -> Quota | None:
    """Create the quota from the settings; None if there is no limit."""
    if max_requests_per_minute is None:
        return None
    # Most runs set no limit, and start faster without importing the library.
    if quota_url is None:
        from .local_quota import LocalQuota  # noqa: PLC0415

        return LocalQuota(max_requests_per_minute, WINDOW_SECS)
    from .shared_quota import SharedQuota  # noqa: PLC0415

    return SharedQuota(quota_url, max_requests_per_minute, WINDOW_SECS)
