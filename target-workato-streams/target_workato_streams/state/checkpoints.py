"""Determines which states may be emitted, and writes them to stdout.

The messages between two STATE messages form a checkpoint. A message refers to its checkpoint, which
counts its unacknowledged messages, so a message costs one addition and one subtraction.
"""

from __future__ import annotations

import io
import os
import select
import sys
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .dead_letters import DeadLetters


class Checkpoint:
    """The messages between two STATE messages."""

    __slots__ = ("following", "previous", "state", "unacknowledged")

    def __init__(self, previous: Checkpoint | None = None) -> None:
        self.unacknowledged = 0  # messages that are neither acknowledged nor dead letters
        self.state: bytes | None = None  # closed the checkpoint; None while it is open
        self.previous = previous
        self.following: Checkpoint | None = None


class CheckpointTracker:
    """Tracks the messages of all topics, from the record to the state that covers it.

    A complete checkpoint leaves the chain immediately: if it was the first, its state may be
    emitted; otherwise its state replaces that of the previous checkpoint. So the chain is never
    longer than the number of unacknowledged messages, however long one topic delays the others.
    """

    def __init__(self) -> None:
        self.unacknowledged = 0  # of all checkpoints
        self.sequence = 0  # of the last message
        self._current = Checkpoint()
        self._ready: bytes | None = None

    def track(self) -> Checkpoint:
        """Number the message of the record that was read last, and return its checkpoint."""
        self.unacknowledged += 1
        self.sequence += 1
        self._current.unacknowledged += 1
        return self._current

    def acknowledge(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Count a message of each checkpoint as acknowledged, or as written to the dead letters."""
        for checkpoint in checkpoints:
            self.unacknowledged -= 1
            checkpoint.unacknowledged -= 1
            if checkpoint.unacknowledged == 0 and checkpoint.state is not None:
                self._complete(checkpoint)

    def close(self, state: bytes) -> None:
        """Close the checkpoint with the value of a STATE message, which covers all messages."""
        checkpoint = self._current
        checkpoint.state = state
        self._current = checkpoint.following = Checkpoint(previous=checkpoint)
        if checkpoint.unacknowledged == 0:
            self._complete(checkpoint)

    def take(self) -> bytes | None:
        """Return the newest state that may be emitted since the last call; None without one."""
        state, self._ready = self._ready, None
        return state

    def _complete(self, checkpoint: Checkpoint) -> None:
        previous, following = checkpoint.previous, checkpoint.following
        if following is not None:
            following.previous = previous
        if previous is None:
            self._ready = checkpoint.state
        else:
            previous.following = following
            previous.state = checkpoint.state


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
        self._line = memoryview(b"")
        self._next = b""
        self._failed = False

    @property
    def output(self) -> int | None:
        """The descriptor of stdout if a state has not been written completely."""
        return sys.stdout.fileno() if self._is_pending else None

    @property
    def _is_pending(self) -> bool:
        return bool(self._line or self._next) and not self._failed

    def write(self, state: bytes | None) -> None:
        """Write as much of a new state, or of the last one, as stdout accepts without blocking."""
        if state is not None and state != self._last and not self._failed:
            if self._dead_letters is not None:
                self._dead_letters.sync()
            self._last = state
            self._next = state + b"\n"
        try:
            while self._is_pending:
                self._line = self._line or memoryview(self._next)
                if self._line.obj is self._next:
                    self._next = b""
                written = _write(self._line)
                if not written:
                    return
                self._line = self._line[written:]
        except OSError as exc:
            self._failed = True
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
