"""When a run ends: its clock, its limits, and the watchdog that enforces them."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import parse_time

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bookmarks import Page

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


# The maximum time that stdout may block when the run has to end. In total, a run ends within 5 s.
GRACE_SECS = 3.0
CHECK_SECS = 0.5
LOG_SECS = 0.5


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


class Watchdog:
    """Ends the process if the run has to end but stdout is blocked.

    A write to a full pipe blocks until the loader reads, and cannot be interrupted by a signal or a
    time limit. The watchdog waits for a slow loader as long as it reads.

    Args:
        written: Returns the number of bytes written to stdout.
        max_run_secs: The maximum duration of the run; None if only a signal ends it.
    """

    def __init__(self, written: Callable[[], int], max_run_secs: float | None) -> None:
        self._written = written
        self._max_run_secs = max_run_secs
        self._is_over = threading.Event()
        # Unlike an Event, a queue may be used in a signal handler.
        self._expected_end: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start watching."""
        threading.Thread(target=self._watch, daemon=True).start()

    def expect_end(self) -> None:
        """Expect the run to end soon; safe in a signal handler."""
        self._expected_end.put(None)

    def stop(self) -> None:
        """Stop watching, because the run has ended."""
        self._is_over.set()
        self.expect_end()

    def _watch(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._expected_end.get(timeout=self._max_run_secs)
        written, blocked_secs = self._written(), 0.0
        while blocked_secs < GRACE_SECS:
            if self._is_over.wait(CHECK_SECS):
                return
            blocked_secs += CHECK_SECS
            if self._written() != written:
                written, blocked_secs = self._written(), 0.0
        # If stderr is blocked, too, the error cannot be logged, either.
        threading.Timer(LOG_SECS, os._exit, [1]).start()
        logger.error(
            "cannot write to stdout (the loader has stopped reading); "
            "the next run reads the messages that were not written"
        )
        # A normal exit is not possible, because the flush at exit would block, too.
        os._exit(1)
