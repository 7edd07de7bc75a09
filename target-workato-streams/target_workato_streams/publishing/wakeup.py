"""Lets workers and signal handlers wake the main thread while it waits for the input."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class Wakeup:
    """A pipe to wait on; any thread or signal handler may write to it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._called = False
        # Reentrant: a signal handler may interrupt a call of its own thread.
        self._lock = threading.RLock()

    def call(self) -> None:
        """Wake the main thread, now or the next time it waits."""
        with self._lock:
            if not self._called:
                self._called = True
                os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget previous calls; callers must check for new events only after this."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        # Last, so that a call before this line is either seen by the check that follows, or wakes
        # the main thread once more than necessary.
        self._called = False

    def wait(self, timeout: float, *, readable: int | None, writable: int | None) -> bool:
        """Wait for a call or one of the descriptors; return whether `readable` is readable."""
        inputs = [self._reader] if readable is None else [self._reader, readable]
        outputs = [] if writable is None else [writable]
        return readable in select.select(inputs, outputs, [], timeout)[0]

    def run(self, work: Callable[[], T]) -> Future[T]:
        """Run a function in a daemon thread, and wake the main thread when it is done."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as exc:  # noqa: BLE001 - raised again by Future.result
                future.set_exception(exc)
            self.call()

        threading.Thread(target=run, daemon=True).start()
        return future

    def close(self) -> None:
        """Close the pipe; a later call, by a signal handler or a worker, does nothing."""
        with self._lock:
            self._called = True
            os.close(self._reader)
            os.close(self._writer)
