"""Acknowledgements with `exactly_once`: each emitted state contains the topics' positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from typing_extensions import override

from ..state.checkpoints import EmittableState
from ..state.positioned_states import PositionedStates
from .acknowledgements import Acknowledgements

if TYPE_CHECKING:
    from pathlib import Path

    from ..state.exactly_once import ExactlyOnce
    from ..state.positions import Position
    from .messages import Message
    from .shutdown import Shutdown


class PositionedAcknowledgements(Acknowledgements):
    """Tracks the messages of all topics, and emits states together with the topics' positions.

    Args:
        dead_letter_path: The dead-letter file, if there is one.
        shutdown: Ends the run if a state or a dead letter cannot be written.
        rule: Keeps the positions, and decides which states may be emitted.
    """

    def __init__(
        self, dead_letter_path: Path | None, shutdown: Shutdown, rule: ExactlyOnce[Message]
    ) -> None:
        super().__init__(dead_letter_path, shutdown)
        self._states = PositionedStates(self.write, rule)
        self._last: EmittableState | None = None
        self._emitted_at = time.monotonic()

    @property
    def secs_since_emitted(self) -> float:
        """The seconds since the last emitted state or, without one, since the start of the run."""
        return time.monotonic() - self._emitted_at

    @property
    def sequence(self) -> int:
        """The sequence number of the last record."""
        return self._sequence

    def forget(self, message: Message) -> None:
        """Forget a message that is not published: the topic contains it, or the run is stopped."""
        super().acknowledge([message])

    @override
    def close_checkpoint(self, state: bytes) -> None:
        super().close_checkpoint(state)
        self._last = EmittableState(state, self._sequence)

    @override
    def emit_state(self) -> None:
        state = self._checkpoints.take()
        if state is not None and self._states.emit_if_covering(state.value, state.sequence):
            self._emitted_at = time.monotonic()
        else:
            self.write(None)

    @property
    def is_covered_by_last_state(self) -> bool:
        """Whether no record has been read since the last state."""
        return self._last is not None and self._last.sequence == self._sequence

    def emit_last_state(self) -> None:
        """Emit the last state, which covers everything, after the whole input is published."""
        if self._last is not None:
            self._states.emit(self._last.value)

    def add_position(self, topic_id: int, position: Position) -> None:
        """Emit the last state again with the position of a topic that had none."""
        self._states.add_position(topic_id, position)
