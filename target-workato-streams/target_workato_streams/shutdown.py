"""Why a run comes to its end before its input does, and how long that may take."""

from __future__ import annotations

import time

# A run that is told to stop has 10 seconds in all; after a failure, what is under way has this too.
GRACE_SECS = 8.0


class Shutdown:
    """What ends the run: a signal, or the first failure.

    Attributes:
        stopping: Whether a signal has asked for an end.
        failure: The first failure.
        deadline: When to wait no longer, on the monotonic clock; None for no such time.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self.deadline: float | None = None

    def stop(self) -> None:
        """Take note of a signal."""
        self.stopping = True
        self._hurry()

    def fail(self, failure: Exception, *, at_once: bool) -> None:
        """Take note of a failure; the first is the one that is told.

        Args:
            failure: The failure.
            at_once: Whether nothing more is to be published; else what stood before it is.
        """
        self.failure = self.failure or failure
        if at_once:
            self._hurry()

    @property
    def late(self) -> bool:
        """Whether the time is up."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def _hurry(self) -> None:
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_SECS
