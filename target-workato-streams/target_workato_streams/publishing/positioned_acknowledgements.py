"""Acknowledgements with `exactly_once`: each emitted state contains the topics' positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from typing_extensions import override

from ..state.checkpoints import EmittableState
from ..state.positions import with_positions
from .producer import Acknowledgements

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ..state.exactly_once import ExactlyOnce
    from ..state.positions import Position
    from .messages import Message
    from .producer import Shutdown


class PositionedAcknowledgements(Acknowledgements):
    """Tracks the messages of all topics, and emits states together with the topics' positions.

    A state is only emitted if it covers all of our known messages. Other states are dropped: the
    messages that such a state does not cover belong to records after it, so only a later state can
    cover them.

    Args:
        dead_letter_path: The dead-letter file, if there is one.
        shutdown: Ends the run if a state or a dead letter cannot be written.
        rule: Keeps the positions, and decides which states may be emitted.

    Attributes:
        emitted_at: The time of the last emitted state, or else of the start of the run, on the
            monotonic clock.
    """

    def __init__(
        self, dead_letter_path: Path | None, shutdown: Shutdown, rule: ExactlyOnce[Message]
    ) -> None:
        super().__init__(dead_letter_path, shutdown)
        self.emitted_at = time.monotonic()
        self._rule = rule
        self._last: EmittableState | None = None
        self._emitted: bytes | None = None
        self._emitted_positions: Mapping[int, Position] = {}

    @override
    def close_checkpoint(self, state: bytes) -> None:
        super().close_checkpoint(state)
        self._last = EmittableState(state, self.sequence)

    @override
    def emit_state(self) -> None:
        state = self._checkpoints.take()
        if state is not None and self._rule.covers(state.sequence):
            self.emit(state.value)
        self.write(None)

    @property
    def last_state(self) -> bytes | None:
        """The last state; None if a record has been read since, so that it does not cover all."""
        last = self._last
        return last.value if last is not None and last.sequence == self.sequence else None

    def emit(self, state: bytes) -> None:
        """Emit a state that covers all messages, with the positions."""
        self.emitted_at = time.monotonic()
        self._write(state, self._rule.positions)

    def add_position(self, topic_id: int, position: Position) -> None:
        """Emit the last emitted state again, with the position of a topic that had none.

        Without such a state, nothing is emitted, because a state with positions only would replace
        the bookmarks of the tap.
        """
        if self._emitted is not None:
            self._write(self._emitted, {**self._emitted_positions, topic_id: position})

    def _write(self, state: bytes, positions: Mapping[int, Position]) -> None:
        self.write(with_positions(state, positions))
        self._emitted, self._emitted_positions = state, positions
