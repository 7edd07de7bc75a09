"""Which state may be told: the newest whose earlier records are all acknowledged or set aside.

The records between two STATE messages are an epoch. A record knows its epoch, and an epoch counts
those that are still owed, so that a record costs one addition and one subtraction.
"""

from __future__ import annotations


class Epoch:
    """The records that were read between two STATE messages.

    Attributes:
        owed: How many of its records are neither acknowledged nor set aside.
        state: The value of the STATE message that closed it; None while it is open.
    """

    __slots__ = ("following", "owed", "previous", "state")

    def __init__(self, previous: Epoch | None = None) -> None:
        self.owed = 0
        self.state: bytes | None = None
        self.previous = previous
        self.following: Epoch | None = None


class Ledger:
    """Keeps the epochs that still owe a record, in the order of the input.

    An epoch that owes nothing any more leaves the chain at once: its state may be told if it was
    the first, else it is told in place of the state of the epoch before it. So the chain is never
    longer than the records in flight, however long one topic keeps the others waiting.
    """

    def __init__(self) -> None:
        self.current = Epoch()
        self._tellable: bytes | None = None

    def close(self, state: bytes) -> None:
        """Take in the value of a STATE message: it stands for all records read so far."""
        epoch = self.current
        epoch.state = state
        self.current = epoch.following = Epoch(previous=epoch)
        if epoch.owed == 0:
            self._complete(epoch)

    def acknowledge(self, epoch: Epoch) -> None:
        """Count a record of the epoch as acknowledged, or as set aside for good."""
        epoch.owed -= 1
        if epoch.owed == 0 and epoch.state is not None:
            self._complete(epoch)

    def take(self) -> bytes | None:
        """The newest state that may be told since the last call, or None."""
        state, self._tellable = self._tellable, None
        return state

    def _complete(self, epoch: Epoch) -> None:
        previous, following = epoch.previous, epoch.following
        if following is not None:
            following.previous = previous
        if previous is None:
            self._tellable = epoch.state
        else:
            previous.following = following
            previous.state = epoch.state
