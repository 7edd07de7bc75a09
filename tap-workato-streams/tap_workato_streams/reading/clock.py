"""When a run ends: its clock, its limits, and the watchdog that enforces them."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone

from ..event_streams import logger
from ..event_streams.consume import parse_time


class RunClock:
    """Knows when the run began by the service's clock; all consumers of a run share it.

    The first ``Date`` of the service decides, or the local clock if the service sends none.
    """

    def __init__(self) -> None:
        self._start: datetime | None = None

    def set_start(self, date: datetime | None) -> None:
        """Set the start of the run at the first response, to its date."""
        if self._start is None:
            self._start = date or datetime.now(timezone.utc)
            if date is None:
                logger.warning("the service sends no Date header; using the local clock")

    def started_before(self, time: str | None) -> bool:
        """Return whether a message with this time was published after the run began."""
        published = parse_time(time)
        # The header has whole seconds, so messages of the same second may be older than the run.
        return bool(published and self._start and published >= self._start + timedelta(seconds=1))


# How long stdout may block at the end of a run: a loader that writes a batch does not read, and a
# truncated line would prevent its commit. After a signal, supervisors kill a process after 10 s.
GRACE_SECS, SIGNAL_GRACE_SECS = 300.0, 8.0
CHECK_SECS, LOG_SECS = 0.5, 0.5


class RunLimits:
    """The limits of one run, all topics together; None for no limit."""

    def __init__(self, max_messages: int | None = None, max_run_secs: float | None = None) -> None:
        self.are_set = max_messages is not None or max_run_secs is not None
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

    def admit(self, messages: int) -> int:
        """Count messages that are about to be written; return how many of them may be."""
        if self._messages_left is None:
            return messages
        admitted = min(messages, self._messages_left)
        self._messages_left -= admitted
        return admitted


class Watchdog:
    """Ends the process if the run has to end but stdout is blocked.

    A write to a full pipe blocks until the loader reads, and cannot be interrupted by a signal or a
    time limit. The watchdog waits for a slow loader as long as it reads.
    """

    def __init__(self, written: Callable[[], int], max_run_secs: float | None) -> None:
        self._written = written
        self._max_run_secs = max_run_secs
        self._is_signaled = False
        self._is_over = threading.Event()
        # Unlike an Event, a queue may be used in a signal handler.
        self._expected_end: queue.SimpleQueue[None] = queue.SimpleQueue()

    def start(self) -> None:
        """Start a thread that watches."""
        threading.Thread(target=self._watch, daemon=True).start()

    def expect_end(self, *, is_signaled: bool = False) -> None:
        """Expect the run to end, soon after a signal; safe in a signal handler."""
        self._is_signaled |= is_signaled
        self._expected_end.put(None)

    def stop(self) -> None:
        """Stop watching, because the run has ended."""
        self._is_over.set()
        self.expect_end()

    def _watch(self) -> None:
        with contextlib.suppress(queue.Empty):
            self._expected_end.get(timeout=self._max_run_secs)
        seen, blocked_secs = (self._written(), self._is_signaled), 0.0
        while blocked_secs < (SIGNAL_GRACE_SECS if seen[1] else GRACE_SECS):
            if self._is_over.wait(CHECK_SECS):
                return
            blocked_secs += CHECK_SECS
            if (now := (self._written(), self._is_signaled)) != seen:
                seen, blocked_secs = now, 0.0
        # If stderr is blocked, too, the error cannot be logged, either.
        threading.Timer(LOG_SECS, os._exit, [1]).start()
        logger.error(
            "cannot write to stdout (the loader has stopped reading); "
            "the next run reads the messages that were not written"
        )
        # A normal exit is not possible, because the flush at exit would block, too.
        os._exit(1)
