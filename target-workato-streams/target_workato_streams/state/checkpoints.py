"""Determines the newest state that covers only acknowledged records.

The records between two STATE messages form a checkpoint. A record refers to its checkpoint, and a
checkpoint counts its unacknowledged records, so a record costs one addition and one subtraction.
"""

from __future__ import annotations

from typing import NamedTuple


class EmittableState(NamedTuple):
    """A state, and its position in the input.

    Attributes:
        value: The value of the STATE message.
        sequence: The sequence number of the last message before it.
    """

    value: bytes
    sequence: int


class Checkpoint:
    """The records that were read between two STATE messages.

    Attributes:
        unacknowledged: The number of records that are neither acknowledged nor dead letters.
        state: The state that closed the checkpoint; None while it is open.
    """

    __slots__ = ("following", "previous", "state", "unacknowledged")

    def __init__(self, previous: Checkpoint | None = None) -> None:
        self.unacknowledged = 0
        self.state: EmittableState | None = None
        self.previous = previous
        self.following: Checkpoint | None = None


class CheckpointTracker:
    """Tracks the checkpoints that have unacknowledged records, in input order.

    A complete checkpoint leaves the chain immediately: if it was the first, its state may be
    emitted; otherwise its state replaces that of the previous checkpoint. So the chain is never
    longer than the number of unacknowledged records, however long one topic delays the others.
    """

    def __init__(self) -> None:
        self.current = Checkpoint()
        self._ready: EmittableState | None = None

    def close(self, state: EmittableState) -> None:
        """Close the checkpoint with a state, which covers all records so far."""
        checkpoint = self.current
        checkpoint.state = state
        self.current = checkpoint.following = Checkpoint(previous=checkpoint)
        if checkpoint.unacknowledged == 0:
            self._complete(checkpoint)

    def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Count a record of the checkpoint as acknowledged or written to the dead-letter file."""
        checkpoint.unacknowledged -= 1
        if checkpoint.unacknowledged == 0 and checkpoint.state is not None:
            self._complete(checkpoint)

    def take(self) -> EmittableState | None:
        """Return the newest state that may be emitted since the last call, or None."""
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
