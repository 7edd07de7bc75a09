"""The start of a run by the service's clock."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from .positions import parse_time


class RunClock:
    """Remembers when the run began: the ``Date`` of the first response of any topic.

    The service's clock decides, so a wrong local clock does not end the run early or late.
    """

    def __init__(self) -> None:
        self._end_of_second: datetime | None = None

    def see(self, date: datetime | None) -> None:
        """Take the date of a response. The first one counts; without one, the local clock does."""
        if self._end_of_second is None:
            # The header counts whole seconds: messages of this second may be older than the run.
            self._end_of_second = (date or datetime.now(timezone.utc)) + timedelta(seconds=1)

    def started_before(self, time: str | None) -> bool:
        """Return whether a message with this time was published after the run began."""
        published = parse_time(time)
        return bool(published and self._end_of_second and published >= self._end_of_second)
