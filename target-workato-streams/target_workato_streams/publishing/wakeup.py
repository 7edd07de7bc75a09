"""Wakes the main thread, which waits for input, for workers and for the clock, all at once."""

from __future__ import annotations

import contextlib
import os
import select


class Wakeup:
    """A pipe to wait on. Any thread, and a signal handler, may write to it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._called = False

    def fileno(self) -> int:
        """The descriptor that is ready to read after a call."""
        return self._reader

    def call(self) -> None:
        """Wake the main thread, now or when it waits the next time."""
        if not self._called:
            self._called = True
            os.write(self._writer, b"\0")

    def clear(self) -> None:
        """Forget the calls so far; what they were about has to be looked at after this."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)
        # In this order: a call in between is looked at now, or wakes once more for nothing.
        self._called = False

    def wait(self, timeout: float | None) -> None:
        """Wait for a call; `timeout` is in seconds, None waits for ever."""
        select.select([self._reader], [], [], timeout)

    def close(self) -> None:
        """Give the descriptors back; a call that comes later, as by a signal, does nothing."""
        self._called = True
        os.close(self._reader)
        os.close(self._writer)
