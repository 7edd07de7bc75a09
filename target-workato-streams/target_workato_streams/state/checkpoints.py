"""Which state may be emitted: the newest one whose records are all acknowledged or dead-lettered.

The records between two STATE messages form a checkpoint. A record refers to its checkpoint, and a
checkpoint counts its unacknowledged records, so a record costs one addition and one subtraction.
"""

from __future__ import annotations


class Checkpoint:
    """The records that were read between two STATE messages.

    Attributes:
        unacknowledged: How many of its records are neither acknowledged nor set aside.
        state: The value of the STATE message that closed it; None while it is open.
    """

    __slots__ = ("following", "previous", "state", "unacknowledged")

    def __init__(self, previous: Checkpoint | None = None) -> None:
        self.unacknowledged = 0
        self.state: bytes | None = None
        self.previous = previous
        self.following: Checkpoint | None = None


class CheckpointTracker:
    """Tracks the checkpoints that have unacknowledged records, in input order.

    A complete checkpoint leaves the chain at once: if it was the first, its state may be emitted,
    else its state replaces that of the checkpoint before it. So the chain is never longer than
    the records in flight, however long one topic delays the others.
    """

    def __init__(self) -> None:
        self.current = Checkpoint()
        self._tellable: bytes | None = None

    def close(self, state: bytes) -> None:
        """Take in the value of a STATE message: it stands for all records read so far."""
        checkpoint = self.current
        checkpoint.state = state
        self.current = checkpoint.following = Checkpoint(previous=checkpoint)
        if checkpoint.unacknowledged == 0:
            self._complete(checkpoint)

    def acknowledge(self, checkpoint: Checkpoint) -> None:
        """Count a record of the checkpoint as acknowledged, or as set aside for good."""
        checkpoint.unacknowledged -= 1
        if checkpoint.unacknowledged == 0 and checkpoint.state is not None:
            self._complete(checkpoint)

    def take(self) -> bytes | None:
        """The newest state that may be told since the last call, or None."""
        state, self._tellable = self._tellable, None
        return state

    def _complete(self, checkpoint: Checkpoint) -> None:
        previous, following = checkpoint.previous, checkpoint.following
        if following is not None:
            following.previous = previous
        if previous is None:
            self._tellable = checkpoint.state
        else:
            previous.following = following
            previous.state = checkpoint.state
