"""How much a run may read before it ends, and how often something is due while it lasts."""

from __future__ import annotations

import time


class RunLimits:
    """The limits of one run, all topics together.

    Args:
        max_messages: The most messages to write; None for no limit.
        max_run_secs: The seconds after which the run ends; None for no limit.
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
        """The seconds until the run has to end; None where only its topics end it."""
        return None if self._ends_at is None else max(0.0, self._ends_at - time.monotonic())

    def take(self, messages: int) -> int:
        """Say how many of so many messages may still be written, and count them."""
        if self._messages_left is None:
            return messages
        taken = min(messages, self._messages_left)
        self._messages_left -= taken
        return taken


class Interval:
    """What is due again and again.

    Args:
        secs: The seconds from one time to the next.
    """

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """The seconds until it is due."""
        return max(0.0, self._began + self._secs - time.monotonic())

    def is_over(self) -> bool:
        """Say whether it is due; if so, the next interval begins."""
        if self.left:
            return False
        self._began = time.monotonic()
        return True
