"""The watchdog, which ends the process if the loader does not read when the run has to end."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

logger = logging.getLogger("tap-workato-streams")

# The maximum time that stdout may block when the run has to end. The promise is 5 s in total.
GRACE_SECS = 3.0
CHECK_SECS = 0.5
LOG_SECS = 0.5


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
            "messages that were not written are read by the next run"
        )
        # A normal exit is not possible, because the flush at exit would block, too.
        os._exit(1)
