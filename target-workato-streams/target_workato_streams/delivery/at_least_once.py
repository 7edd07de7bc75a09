"""At least once: what may not have arrived is sent again, and a state waits for its records."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Generic

from .positions import without_positions
from .records import Position, PublishResult, R, Run

_sequence = attrgetter("sequence")


class AtLeastOnceTopic:
    """Decides which records of a request are sent again."""

    position = None  # the last message that was acknowledged or read, if anything depends on it

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of a request that have to be sent, in order; may read the topic."""
        return records

    def on_lost(self, *, is_throttled: bool) -> bool:
        """Handle that records have no result; return whether they may be duplicated.

        They may have arrived, which is unlikely if the service throttled the request.
        """
        return not is_throttled

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """Handle a response; return whether it says enough, or else the request has failed."""
        return len(result.unknown) < len(records)


@dataclass
class Checkpoint:
    """A state that is emitted when all records before it have outcomes."""

    unsettled: int = 0  # records since the checkpoint before that have no outcome
    sequence: float = math.inf  # of the last record; infinite until the STATE comes
    state: bytes | None = None  # its value; None until it comes


class AtLeastOnce(Generic[R]):
    """Publishes all records; each STATE is a checkpoint.

    A checkpoint whose records all have outcomes leaves the list immediately: if it was the first,
    its state may be emitted; otherwise its state replaces that of the previous checkpoint. So the
    list is never longer than the number of unsettled records, however long one topic delays others.
    """

    cut = 0  # the sequence number that no batch may span, if there is one

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

    def batch_key(self, record: R) -> str | int:
        """Return what no two records of a batch may have in common."""
        return record.sequence

    def open_topic(self, topic_id: int, label: str, run: Run) -> None:
        """Prepare a topic for its first record; the label names it in errors and log lines."""

    def add_record(self, topic_id: int, record: R) -> bool:
        """Add a record; return whether to publish it, and to pass its outcome to `settle`."""
        self.checkpoints[-1].unsettled += 1
        self._sequence = record.sequence
        return True

    def settle(self, topic_id: int, records: Sequence[R], position: Position | None) -> None:
        """Handle that records of one batch were acknowledged, or written to the dead letters."""
        for record in records:
            index = bisect_left(self.checkpoints, float(record.sequence), key=_sequence)
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
        return None if due is None else without_positions(due)

    def finish(self, *, is_complete: bool) -> Sequence[tuple[int, R]]:
        """End the input; return records that have to be published after all, with their topics."""
        return ()

    def topic(self, topic_id: int) -> AtLeastOnceTopic:
        """Return what a new worker of a topic asks."""
        return AtLeastOnceTopic()

    def requests(self, topic_id: int) -> int:
        """Return the number of requests for reading a topic; in any thread."""
        return 0

    def report_progress(self) -> None:
        """Log what takes long; called several times a minute."""

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
