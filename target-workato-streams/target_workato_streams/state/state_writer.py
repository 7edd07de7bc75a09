"""Telling the states that have become true, on standard output."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from .dead_letters import DeadLetters


class StateWriter:
    """Writes each state once, and not before the dead letters that it covers are on disk.

    Args:
        dead_letters: Where messages are set aside, where they may be.
    """

    def __init__(self, dead_letters: DeadLetters | None) -> None:
        self._dead_letters = dead_letters
        self._told: bytes | None = None

    def write(self, state: bytes | None) -> None:
        """Write a state, unless it is None or was the last one.

        Raises:
            EventStreamsError: It, or a dead letter, cannot be written.
        """
        if state is None or state == self._told:
            return
        if self._dead_letters is not None:
            self._dead_letters.sync()
        try:
            _write_line(state)
        except OSError as exc:
            _give_up_output()
            raise EventStreamsError(f"standard output takes no state: {exc.strerror}") from exc
        self._told = state


def _write_line(state: bytes) -> None:
    """Write a state whole: where standard output is not buffered, it may take a part of it."""
    left = memoryview(state + b"\n")
    while left:
        left = left[sys.stdout.buffer.write(left) :]
    sys.stdout.buffer.flush()


def _give_up_output() -> None:
    """Else Python would try to write the rest when it ends, and end with a code of its own."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
