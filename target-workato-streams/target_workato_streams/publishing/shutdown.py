"""The shutdown of a run before the end of its input: its reason and its deadline."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import PublishContext
    from .messages import Failed
    from .producer_registry import ProducerRegistry

# After a signal, a run has 10 seconds in total; after a failure, requests in flight have this time.
GRACE_SECS = 8.0


class Shutdown:
    """The reason for a shutdown (a signal or the first failure), and the deadline.

    Args:
        context: The context that the producers of all topics share.
        producers: The producers of all topics.

    Attributes:
        stopping: Whether a signal was received.
        failure: The first failure.
        deadline: The time on the monotonic clock at which the run has to end; None before a
            shutdown.
    """

    def __init__(self, context: PublishContext, producers: ProducerRegistry) -> None:
        self.stopping = False
        self.failure: Exception | None = None
        self.deadline: float | None = None
        self._context = context
        self._producers = producers

    def stop(self) -> None:
        """Start a shutdown because of a signal; signal-safe."""
        self.stopping = True
        self._set_deadline()
        self._context.wakeup.call()

    def fail(self, failed: Failed) -> None:
        """Start a shutdown because of a failure; only the first failure is reported.

        Messages before a rejected one are still published; after another failure, nothing is.
        """
        self.failure = self.failure or failed.error
        if failed.rejected is None:
            self._set_deadline()
            self._context.limiter.stop()
            self._producers.drop_from(0)
        else:
            self._producers.drop_from(failed.rejected.message.sequence)

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
