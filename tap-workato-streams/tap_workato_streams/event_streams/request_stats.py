"""The statistics of a process's requests, for its metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class RequestStats:
    """Counts of all requests that share a rate limiter.

    Attributes:
        by_status: Requests by the status of their response; ``none`` without a response.
        retries: Requests that were sent again.
        quota_waits: Requests that had to wait for the quota, or for the end of a pause.
        quota_wait_secs: The total time in seconds that they waited.
    """

    by_status: Counter[str] = field(default_factory=Counter)
    retries: int = 0
    quota_waits: int = 0
    quota_wait_secs: float = 0.0
