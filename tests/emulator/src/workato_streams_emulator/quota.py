"""Quotas: a limit on the requests in a sliding window."""

from __future__ import annotations

import time
from collections import deque


class Quota:
    """The recently accepted requests; rejected requests do not count."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, limit: int | None, window_secs: float) -> float:
        """Count a request; return 0.0, or the seconds to wait if the quota is used up."""
        now = time.monotonic()
        while self._admitted and self._admitted[0] <= now - window_secs:
            self._admitted.popleft()
        if limit is not None and len(self._admitted) >= limit:
            # The window has room again when no more than `limit` - 1 requests are in it.
            leaver = self._admitted[-limit] if limit else now
            return leaver + window_secs - now
        self._admitted.append(now)
        return 0.0
