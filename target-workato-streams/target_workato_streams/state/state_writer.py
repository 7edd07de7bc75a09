"""Emits states on stdout."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from .dead_letters import DeadLetters


class StateWriter:
    """Writes each state once, after the dead letters that it covers are on disk.

    Args:
        dead_letters: The dead-letter file, if there is one.
    """

    def __init__(self, dead_letters: DeadLetters | None) -> None:
        self._dead_letters = dead_letters
        self._last: bytes | None = None

    def write(self, state: bytes | None) -> None:
        """Write a state, unless it is None or the same as the last one.

        Raises:
            EventStreamsError: The state or a dead letter cannot be written.
        """
        if state is None or state == self._last:
            return
        if self._dead_letters is not None:
            self._dead_letters.sync()
        try:
            _write_line(state)
        except OSError as exc:
            _discard_output()
            raise EventStreamsError(
                f"cannot write the state to stdout ({exc.strerror}); check the program that reads "
                "it, and run again"
            ) from exc
        self._last = state


def _write_line(state: bytes) -> None:
    """Write a whole line: an unbuffered stdout may write less than it was given."""
    left = memoryview(state + b"\n")
    while left:
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _discard_output() -> None:
    """Keep Python from writing the rest when it exits, which would change the exit code."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
