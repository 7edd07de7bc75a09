"""When a run began, how much it may read before it ends, and what is due while it lasts."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone

from .reading.positions import parse_time


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


class RunStart:
    """When the run began, by the service's clock: the ``Date`` of the first answer of all topics.

    A skewed local clock so neither cuts a run short nor keeps it going.
    """

    def __init__(self) -> None:
        self._end_of_second: datetime | None = None

    def see(self, date: datetime | None) -> None:
        """Take the date of an answer; the first counts. Without one, the local clock must do."""
        if self._end_of_second is None:
            # The header counts whole seconds: what has come within this one was there before.
            self._end_of_second = (date or datetime.now(timezone.utc)) + timedelta(seconds=1)

    def precedes(self, time: str | None) -> bool:
        """Whether a message of this time was published after the run began."""
        published = parse_time(time)
        return bool(published and self._end_of_second and published >= self._end_of_second)


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
