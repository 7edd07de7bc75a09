"""Tracks acknowledged messages, and emits the states that cover them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..state.checkpoints import CheckpointTracker, EmittableState
from ..state.dead_letters import DeadLetters
from ..state.positions import without_positions
from ..state.state_writer import StateWriter
from ..state.versions import NO_VERSION
from .messages import Message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..input.records import Record
    from ..state.versions import Version
    from .messages import Mapped, Rejected


class Acknowledgements:
    """Tracks the messages of all topics, from the record to the state that covers it.

    For the main thread only. Methods that write raise ``EventStreamsError`` if writing fails.

    Args:
        dead_letter_path: The dead-letter file, if there is one.

    Attributes:
        unacknowledged: The number of messages that are neither acknowledged nor dead letters.
    """

    def __init__(self, dead_letter_path: Path | None) -> None:
        self.unacknowledged = 0
        self._sequence = 0
        self._checkpoints = CheckpointTracker()
        self._dead_letters = DeadLetters(dead_letter_path) if dead_letter_path else None
        self._state_writer = StateWriter(self._dead_letters)

    def track(
        self,
        body: bytes,
        record: Record,
        version: Version = NO_VERSION,
        mapped: Mapped | None = None,
    ) -> Message:
        """Create the message of the record that was read last; see `Message` for the arguments."""
        checkpoint = self._checkpoints.current
        checkpoint.unacknowledged += 1
        self.unacknowledged += 1
        self._sequence += 1
        return Message(body, record, self._sequence, checkpoint, version, mapped)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Mark messages as acknowledged by the service."""
        self.unacknowledged -= len(messages)
        for message in messages:
            self._checkpoints.acknowledge(message.checkpoint)

    def dead_letter(self, rejected: Rejected, topic_id: int) -> None:
        """Write a rejected message to the dead-letter file."""
        if self._dead_letters is None:
            raise ValueError("rejected messages end the run")
        error = {
            "topic_id": topic_id,
            "reason": rejected.reason,
            "status": rejected.status,
            "attempts": rejected.attempts,
        }
        self._dead_letters.write(rejected.message.record, error)
        self.acknowledge([rejected.message])

    def close_checkpoint(self, state: bytes) -> None:
        """Accept the value of a STATE message, which covers all records before it."""
        self._checkpoints.close(EmittableState(state, self._sequence))

    def emit_state(self) -> None:
        """Emit the newest state that covers only acknowledged messages, unless already emitted."""
        state = self._checkpoints.take()
        self._state_writer.write(None if state is None else without_positions(state.value))

    @property
    def output(self) -> int | None:
        """The descriptor of stdout if a state is waiting for it to be writable."""
        return self._state_writer.fileno() if self._state_writer.pending else None

    def close(self) -> None:
        """Close the dead-letter file."""
        if self._dead_letters is not None:
            self._dead_letters.close()
