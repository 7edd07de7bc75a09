"""The shutdown of a run before the end of its input: its reason and its deadline."""

from __future__ import annotations

import time

# After a signal, a run has 10 seconds in total; after a failure, requests in flight have this time.
GRACE_SECS = 8.0


class Shutdown:
    """The reason for a shutdown (a signal or the first failure), and the deadline.

    Attributes:
        stopping: Whether a signal was received.
        failure: The first failure.
        deadline: The time on the monotonic clock at which the run has to end; None before a
            shutdown.
    """

    def __init__(self) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self.deadline: float | None = None

    def stop(self) -> None:
        """Start a shutdown because of a signal."""
        self.stopping = True
        self._set_deadline()

    def fail(self, failure: Exception, *, immediately: bool) -> None:
        """Start a shutdown because of a failure; only the first failure is reported.

        Args:
            failure: The failure.
            immediately: Whether to publish nothing more; otherwise, the records before the failure
                are still published.
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
