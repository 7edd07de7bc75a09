"""Tracks acknowledged messages, and emits the states that cover them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError
from ..plugin.wording import counted
from ..state.checkpoints import CheckpointTracker, EmittableState
from ..state.dead_letters import DeadLetters
from ..state.positions import without_positions
from ..state.state_writer import StateWriter
from ..state.versions import NO_VERSION
from .messages import Failed, Message
from .rejections import RejectionLog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..input.records import Record
    from ..state.versions import Version
    from .messages import Mapped, Rejected
    from .shutdown import Shutdown
    from .topic_producer import TopicProducer


class Acknowledgements:
    """Tracks the messages of all topics, from the record to the state that covers it.

    For the main thread only.

    Args:
        dead_letter_path: The dead-letter file, if there is one.
        shutdown: Ends the run if a state or a dead letter cannot be written.

    Attributes:
        unacknowledged: The number of messages that are neither acknowledged nor dead letters.
        sequence: The sequence number of the last message.
    """

    def __init__(self, dead_letter_path: Path | None, shutdown: Shutdown) -> None:
        self.unacknowledged = 0
        self._shutdown = shutdown
        self._rejections = RejectionLog()
        self.sequence = 0
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
        self.sequence += 1
        return Message(body, record, self.sequence, checkpoint, version, mapped)

    def acknowledge(self, messages: Sequence[Message]) -> None:
        """Mark messages as acknowledged by the service."""
        self.unacknowledged -= len(messages)
        for message in messages:
            self._checkpoints.acknowledge(message.checkpoint)

    def dead_letter(self, rejected: Rejected, producer: TopicProducer) -> None:
        """Write a rejected message to the dead-letter file."""
        if self._dead_letters is None:
            raise ValueError("rejected messages end the run")
        error = {
            "topic_id": producer.topic_id,
            "reason": rejected.reason,
            "status": rejected.status,
            "attempts": rejected.attempts,
        }
        try:
            self._dead_letters.write(rejected.message.record, error)
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))
            return
        self.acknowledge([rejected.message])
        producer.tally.dead_lettered += 1
        self._rejections.add(rejected, producer.label)

    def close_checkpoint(self, state: bytes) -> None:
        """Accept the value of a STATE message, which covers all records before it."""
        self._checkpoints.close(EmittableState(state, self.sequence))

    def emit_state(self) -> None:
        """Emit the newest state that covers only acknowledged messages, unless already emitted."""
        state = self._checkpoints.take()
        self.write(None if state is None else without_positions(state.value))

    def write(self, state: bytes | None) -> None:
        """Write a state, or the rest of the last one, as far as stdout accepts it."""
        try:
            self._state_writer.write(state)
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))

    @property
    def output(self) -> int | None:
        """The descriptor of stdout if a state is waiting for it to be writable."""
        return self._state_writer.fileno() if self._state_writer.pending else None

    def close(self) -> None:
        """Close the dead-letter file."""
        try:
            if self._dead_letters is not None:
                self._dead_letters.close()
        except EventStreamsError as exc:
            self._shutdown.fail(Failed(exc))

    def check(self) -> None:
        """Check at the end of a run that its states are written and cover all messages.

        Raises:
            EventStreamsError: A state is not written, or messages are unacknowledged.
        """
        if self.output is not None:
            raise EventStreamsError(
                "the last state could not be written, because nothing reads stdout; check the "
                "program that reads the states, and run again"
            )
        if self.unacknowledged:
            raise EventStreamsError(
                f"stopped with {counted(self.unacknowledged, 'unacknowledged message')}; the next "
                "run resumes from the last state and publishes them again"
            )
