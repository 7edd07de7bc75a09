"""Emits states together with the positions of the topics that they cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .positions import with_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .exactly_once import ExactlyOnce
    from .positions import Position


class PositionedStates:
    """Emits a state if it covers all of our known messages.

    Other states are dropped: the messages that such a state does not cover belong to records after
    it, so only a later state can cover them.

    Args:
        write: Writes a state to stdout.
        rule: Keeps the positions, and decides which states may be emitted.
    """

    def __init__(self, write: Callable[[bytes], None], rule: ExactlyOnce[Any]) -> None:
        self._write_state = write
        self._rule = rule
        self._state: bytes | None = None
        self._positions: dict[int, Position] = {}

    def emit_if_covering(self, state: bytes, sequence: int) -> bool:
        """Emit a state if it covers all messages.

        Args:
            state: Its value. All records before it are acknowledged or rejected.
            sequence: Its position in the input.
        """
        covers = self._rule.covers(sequence)
        if covers:
            self.emit(state)
        return covers

    def emit(self, state: bytes) -> None:
        """Emit a state that covers all messages, with all positions."""
        self._write(state, self._rule.positions)

    def add_position(self, topic_id: int, position: Position) -> None:
        """Emit the last state again, with the position of a topic that had none.

        The tap must have emitted a state, because a state with positions only would replace its
        bookmarks.
        """
        if self._state is not None:
            self._write(self._state, {**self._positions, topic_id: position})

    def _write(self, state: bytes, positions: Mapping[int, Position]) -> None:
        self._write_state(with_positions(state, positions))
        self._state, self._positions = state, dict(positions)
