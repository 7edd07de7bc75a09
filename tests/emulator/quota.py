"""Quotas: how many requests a sliding window admits."""

from __future__ import annotations

import time
from collections import deque


class Quota:
    """Recently admitted requests; a rejected request does not count."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, limit: int | None, window_secs: float) -> float:
        """Admit a request now: 0.0, or reject it: the seconds until one is admitted again."""
        now = time.monotonic()
        while self._admitted and self._admitted[0] <= now - window_secs:
            self._admitted.popleft()
        if limit is not None and len(self._admitted) >= limit:
            # The window has room again when no more than `limit` - 1 requests are in it.
            leaver = self._admitted[-limit] if limit else now
            return leaver + window_secs - now
        self._admitted.append(now)
        return 0.0
