"""Why a run ends before its input does, and how much time is left for that."""

from __future__ import annotations

import time

# A stopped run has 10 seconds in total; after a failure, requests in flight have this long, too.
GRACE_SECS = 8.0


class Shutdown:
    """What ends the run: a signal, or the first failure.

    Attributes:
        stopping: Whether a signal was received.
        failure: The first failure.
        deadline: When the run has to end, on the monotonic clock; None before a shutdown.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self.deadline: float | None = None

    def stop(self) -> None:
        """Take note of a signal."""
        self.stopping = True
        self._set_deadline()

    def fail(self, failure: Exception, *, immediately: bool) -> None:
        """Take note of a failure; the first one is reported.

        Args:
            failure: The failure.
            immediately: Whether nothing more is published; otherwise, what precedes the failure
                in the input still is.
        """
        self.failure = self.failure or failure
        if immediately:
            self._set_deadline()

    @property
    def overdue(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def check(self) -> None:
        """Raise the failure, if there is one."""
        if self.failure is not None:
            raise self.failure

    def _set_deadline(self) -> None:
        if self.deadline is None:
            self.deadline = time.monotonic() + GRACE_SECS
