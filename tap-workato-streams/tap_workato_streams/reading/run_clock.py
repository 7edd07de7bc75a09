"""The start of a run by the service's clock."""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import parse_time

if TYPE_CHECKING:
    from .topic import Page

logger = logging.getLogger("tap-workato-streams")

# With a larger difference, either the Date header or the local clock is wrong.
DAY_OFF = timedelta(hours=12)
# A message that is this far ahead of a clock proves that the clock is wrong.
TOLERANCE = timedelta(minutes=2)


class RunClock:
    """Estimates when the run began; all consumers of a run share it.

    The first ``Date`` of the service decides, so a wrong local clock does not end the run early or
    late. If a message comes from the future according to a clock, that clock is wrong and no longer
    used. Without a usable clock, a run ends at an empty page.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._first_response = 0.0
        # Estimates of the start of the run, best first; None until the first response.
        self._starts: list[datetime] | None = None
        self._has_warned = False

    def see(self, page: Page) -> None:
        """Update the estimates with a response's date and the time of its newest message."""
        with self._lock:
            if self._starts is None:
                self._first_response = time.monotonic()
                self._starts = self._estimates(page.date)
            published = parse_time(page.messages[-1].time) if page.messages else None
            if published is None:
                return
            elapsed = timedelta(seconds=time.monotonic() - self._first_response)
            while self._starts and published - elapsed > self._starts[0] + TOLERANCE:
                wrong = self._starts.pop(0)
                self._warn(
                    "the clock is wrong: by this clock, the run began at %s, but it has already "
                    "read a message of %s; the end of the run is determined %s",
                    wrong.isoformat(timespec="seconds"),
                    page.messages[-1].time,
                    "by another clock" if self._starts else "by the first empty page of each topic",
                )

    def started_before(self, time: str | None) -> bool:
        """Return whether a message with this time was published after the run began."""
        published = parse_time(time)
        with self._lock:
            start = self._starts[0] if self._starts else None
        # The header has whole seconds, so messages of the same second may be older than the run.
        return bool(published and start and published >= start + timedelta(seconds=1))

    def _estimates(self, date: datetime | None) -> list[datetime]:
        local = datetime.now(timezone.utc)
        if date is None:
            self._warn("the service sends no Date header; using the local clock")
            return [local]
        if abs(date - local) > DAY_OFF:
            self._warn(
                "the service's Date header (%s) and the local clock (%s) differ by %.0f hours; "
                "check the local clock",
                date.isoformat(timespec="seconds"),
                local.isoformat(timespec="seconds"),
                abs(date - local).total_seconds() / 3600,
            )
            # The earlier time ends the run on a busy topic; if it is wrong, a message will show it.
            return sorted([date, local])
        return [date, local]

    def _warn(self, line: str, *args: object) -> None:
        if not self._has_warned:
            logger.warning(line, *args)
        self._has_warned = True
