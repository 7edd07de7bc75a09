"""The states that are emitted with `exactly_once`, each with the topics' positions."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..exactly_once.positions import with_positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..exactly_once.positions import Position
    from ..state.checkpoints import EmittableState
    from ..state.exactly_once import ExactlyOnce
    from .messages import OutgoingMessage


class PositionedStates:
    """Adds the topics' positions to the states.

    A state is only emitted if it covers all of our known messages. Other states are dropped: the
    messages that such a state does not cover belong to records after it, so only a later state can
    cover them.

    Args:
        rule: Keeps the positions.

    Attributes:
        emitted_at: The time of the last emitted state, or else of the start of the run, on the
            monotonic clock.
        last: The last state of the input.
    """

    def __init__(self, rule: ExactlyOnce[OutgoingMessage]) -> None:
        self.emitted_at = time.monotonic()
        self.last: EmittableState | None = None
        self._rule = rule
        self._emitted: bytes | None = None
        self._emitted_positions: Mapping[int, Position] = {}

    def of(self, state: bytes) -> bytes:
        """Return a state that is emitted now, with the positions; it covers all messages."""
        self.emitted_at = time.monotonic()
        self._emitted, self._emitted_positions = state, self._rule.positions
        return with_positions(state, self._emitted_positions)

    def with_position(self, topic_id: int, position: Position) -> bytes | None:
        """Return the last emitted state with the position of a topic that had none.

        None if no state was emitted, because a state with positions only would replace the
        bookmarks of the tap.
        """
        if self._emitted is None:
            return None
        self._emitted_positions = {**self._emitted_positions, topic_id: position}
        return with_positions(self._emitted, self._emitted_positions)
