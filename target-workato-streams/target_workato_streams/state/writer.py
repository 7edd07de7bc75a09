"""Writes states to stdout."""

from __future__ import annotations

import io
import os
import select
import sys

from ..event_streams.errors import EventStreamsError
from .dead_letters import DeadLetters

# According to pipe(7), a writable pipe accepts this many bytes without blocking.
PIPE_BYTES = select.PIPE_BUF


class StateWriter:
    """Writes each state once, after the dead letters that it covers are on disk.

    A state that could not be written yet is replaced by a newer one. After a failure, no later
    state is written: a successful flush after a failed one proves nothing (fsync(2)).
    """

    def __init__(self, dead_letters: DeadLetters | None) -> None:
        self._dead_letters = dead_letters
        self._last: bytes | None = None
        self._line, self._next = memoryview(b""), b""
        self._failed = False

    @property
    def output(self) -> int | None:
        """The descriptor of stdout if a state has not been written completely."""
        return sys.stdout.fileno() if self._line or self._next else None

    def write(self, state: bytes | None) -> None:
        """Write as much of a new state, or of the last one, as stdout accepts without blocking."""
        if state is not None and state != self._last and not self._failed:
            if self._dead_letters is not None:
                self._dead_letters.sync()
            self._last = state
            self._next = state + b"\n"
        try:
            while self._line or self._next:
                if not self._line:
                    self._line, self._next = memoryview(self._next), b""
                if not (written := _write(self._line)):
                    return
                self._line = self._line[written:]
        except OSError as exc:
            self._failed, self._line, self._next = True, memoryview(b""), b""
            raise EventStreamsError(
                f"cannot write the state to stdout ({exc.strerror}); check the program that reads "
                "it, and run again"
            ) from exc


def _write(line: memoryview) -> int:
    """Write a part of a line; return 0 if stdout would block."""
    try:
        stdout = sys.stdout.fileno()
    except (AttributeError, io.UnsupportedOperation):
        # stdout is not a file, for example in tests.
        return sys.stdout.buffer.write(line)
    if not select.select([], [stdout], [], 0)[1]:
        return 0
    return os.write(stdout, line[:PIPE_BYTES])
