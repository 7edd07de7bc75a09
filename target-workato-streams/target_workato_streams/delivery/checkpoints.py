"""When a state is true: it is emitted once all records before it have outcomes."""

from __future__ import annotations

import json
import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from ..event_streams.json import members

# In a state, the bookmark that an earlier version added for exactly_once.
OLD_BOOKMARK = "target-workato-streams"
_sequence = attrgetter("sequence")


@dataclass
class Checkpoint:
    """A state that is emitted when all records before it have outcomes."""

    unsettled: int = 0  # records since the checkpoint before that have no outcome
    sequence: float = math.inf  # of the last record; infinite until the STATE comes
    state: bytes | None = None  # its value; None until it comes


class CheckpointTracker:
    """Makes each STATE a checkpoint.

    A checkpoint whose records all have outcomes leaves the list immediately: if it was the first,
    its state may be emitted; otherwise its state replaces that of the previous checkpoint. So the
    list is never longer than the number of unsettled records, however long one topic delays others.
    """

    def __init__(self) -> None:
        self.checkpoints = [Checkpoint()]  # in the order of the input
        self._sequence = 0  # of the last record
        self._due: bytes | None = None

    @property
    def unsettled(self) -> int:
        """The number of records without an outcome."""
        return sum(each.unsettled for each in self.checkpoints)

    @property
    def memory(self) -> int:
        """The approximate memory of the states that wait for outcomes, in bytes."""
        return sum(len(each.state or b"") for each in self.checkpoints)

    def add_record(self, sequence: int) -> None:
        """Add the next record by its sequence number, whose outcome goes to `settle`."""
        self.checkpoints[-1].unsettled += 1
        self._sequence = sequence

    def settle(self, sequences: Iterable[int]) -> None:
        """Handle that records were acknowledged, skipped, or written to the dead letters."""
        for sequence in sequences:
            index = bisect_left(self.checkpoints, float(sequence), key=_sequence)
            self.checkpoints[index].unsettled -= 1
            self._complete(index)

    def add_state(self, state: bytes) -> None:
        """Add the value of a STATE message, which covers all records before it."""
        last = self.checkpoints[-1]
        last.state, last.sequence = state, self._sequence
        self.checkpoints.append(Checkpoint())
        self._complete(len(self.checkpoints) - 2)

    def pop_state(self) -> bytes | None:
        """Return the newest state that may be emitted, once."""
        due, self._due = self._due, None
        return None if due is None else _without_old_bookmark(due)

    def _complete(self, index: int) -> None:
        """Remove a checkpoint if its state has come and all of its records have outcomes."""
        checkpoint = self.checkpoints[index]
        if checkpoint.unsettled or checkpoint.state is None:
            return
        del self.checkpoints[index]
        if index == 0:
            self._due = checkpoint.state
        else:
            self.checkpoints[index - 1].state = checkpoint.state


def _without_old_bookmark(state: bytes) -> bytes:
    """Remove what an earlier version added; everything else is unchanged."""
    if OLD_BOOKMARK.encode() not in state:
        return state
    fields = members(state)
    text = fields.get("bookmarks", b"")
    bookmarks = members(text) if text.startswith(b"{") else {}
    if bookmarks.pop(OLD_BOOKMARK, None) is None:
        return state
    fields["bookmarks"] = _object(bookmarks)
    return _object(fields)


def _object(fields: dict[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(
        b"%b:%b" % (json.dumps(name).encode(), text) for name, text in fields.items()
    )
