"""The limits of a run, and the intervals of repeated actions."""

from __future__ import annotations

import time


class RunLimits:
    """The limits of one run, all topics together.

    Args:
        max_messages: Maximum number of messages to write; None for no limit.
        max_run_secs: Maximum duration in seconds; None for no limit.
    """

    def __init__(
        self,
        max_messages: int | None = None,
        max_run_secs: float | None = None,
    ) -> None:
        self._messages_left = max_messages
        self._ends_at = None if max_run_secs is None else time.monotonic() + max_run_secs

    @property
    def reached(self) -> bool:
        """Whether the run has to end now."""
        return self._messages_left == 0 or self.secs_left == 0

    @property
    def secs_left(self) -> float | None:
        """Seconds until the run has to end; None without a limit."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    def take(self, messages: int) -> int:
        """Count messages before they are written, and return how many of them may be written."""
        if self._messages_left is None:
            return messages
        taken = min(messages, self._messages_left)
        self._messages_left -= taken
        return taken


class Interval:
    """The interval of a repeated action.

    Args:
        secs: The length of the interval in seconds.
    """

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """The remaining seconds of the interval."""
        return max(0.0, self._began + self._secs - time.monotonic())

    def is_over(self) -> bool:
        """Return whether the interval is over; if so, start the next one."""
        if self.left:
            return False
        self._began = time.monotonic()
        return True
