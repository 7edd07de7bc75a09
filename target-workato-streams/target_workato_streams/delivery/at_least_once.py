"""At least once: what may not have arrived is sent again, and a state waits for its records."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Generic

from .exactly_once.positions import without_positions
from .guarantee import R

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .guarantee import Position, PublishResult, Run


@dataclass
class Checkpoint:
    """The records between two STATE messages."""

    unsettled: int = 0  # records without an outcome
    sequence: float = math.inf  # of the last record; infinite before the STATE
    state: bytes | None = None  # the STATE after the records; None before it


_sequence = attrgetter("sequence")


class AtLeastOnceTopic(Generic[R]):
    """Counts the records that are sent again although they may have arrived, each of them once."""

    position = None

    def __init__(self) -> None:
        self._in_doubt: set[int] = set()

    def start_batch(self) -> None:
        """Forget the records of the previous batch."""
        self._in_doubt.clear()

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return all records."""
        return records

    def on_lost(self, records: Sequence[R], *, is_throttled: bool) -> int:
        """Count each record once."""
        known = len(self._in_doubt)
        if not is_throttled:
            self._in_doubt.update(record.sequence for record in records)
        return len(self._in_doubt) - known

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """Records without a result are sent again if others have one."""
        return len(result.unknown) < len(records)


class AtLeastOnce(Generic[R]):
    """Publishes all records, and emits a state when all records before it have an outcome.

    A checkpoint whose records all have outcomes leaves the list immediately: if it was the first,
    its state may be emitted; otherwise its state replaces that of the previous checkpoint. So the
    list is never longer than the number of unsettled records, however long one topic delays others.
    """

    cut = 0

    def __init__(self) -> None:
        self.unsettled = 0
        self.checkpoints = [Checkpoint()]  # in the order of the input
        self._sequence = 0  # of the last record
        self._due: bytes | None = None

    def exclusive_row(self, record: R) -> None:
        """Allow a batch to contain several versions of a row."""

    def open_topic(self, topic_id: int, label: str, run: Run) -> None:
        """Nothing has to be known about a topic."""

    def wants(self, topic_id: int, record: R) -> bool:
        """Publish all records."""
        self.unsettled += 1
        self.checkpoints[-1].unsettled += 1
        self._sequence = record.sequence
        return True

    def settle(self, topic_id: int, records: Sequence[R], position: Position | None) -> None:
        """Count the outcomes in the checkpoints of the records."""
        self.unsettled -= len(records)
        for record in records:
            index = bisect_left(self.checkpoints, float(record.sequence), key=_sequence)
            self.checkpoints[index].unsettled -= 1
            self._complete(index)

    def add_state(self, state: bytes) -> None:
        """Close the last checkpoint."""
        last = self.checkpoints[-1]
        last.state, last.sequence = state, self._sequence
        self.checkpoints.append(Checkpoint())
        self._complete(len(self.checkpoints) - 2)

    def pop_state(self) -> bytes | None:
        """Remove positions from the state, because they do not move in this run."""
        due, self._due = self._due, None
        return None if due is None else without_positions(due)

    def finish(self, *, is_complete: bool) -> Sequence[tuple[int, R]]:
        """No record was kept."""
        return ()

    def topic(self, topic_id: int) -> AtLeastOnceTopic[R]:
        """Return what counts the lost records of a worker."""
        return AtLeastOnceTopic()

    def requests(self, topic_id: int) -> int:
        """No topic is read."""
        return 0

    def report_progress(self) -> None:
        """Nothing takes long."""

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
