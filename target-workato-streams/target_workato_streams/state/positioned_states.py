"""Emitting states together with the positions of the topics that they cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .positions import with_positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .exactly_once import ExactlyOnce
    from .positions import Position
    from .state_writer import StateWriter


class PositionedStates:
    """Emits a state if it covers all messages of ours that are known.

    A state that does not is dropped: each message that it fails to cover will be covered by a
    record behind it, so it never will; a later state takes its place.

    Args:
        writer: Writes to standard output.
        rule: Knows the positions, and what is covered.
    """

    def __init__(self, writer: StateWriter, rule: ExactlyOnce[Any]) -> None:
        self._writer = writer
        self._rule = rule
        self._state: bytes | None = None
        self._positions: dict[int, Position] = {}

    def emit_if_covering(self, state: bytes, sequence: int) -> bool:
        """Emit a state all records before which are acknowledged or rejected.

        Args:
            state: Its value.
            sequence: Its position in the input.

        Raises:
            EventStreamsError: It, or a dead letter, cannot be written.
        """
        covers = self._rule.covers(sequence)
        if covers:
            self.emit(state)
        return covers

    def emit(self, state: bytes) -> None:
        """Emit a state that is known to cover all messages, with all positions.

        Raises:
            EventStreamsError: It, or a dead letter, cannot be written.
        """
        self._write(state, self._rule.positions)

    def add_position(self, topic_id: int, position: Position) -> None:
        """Emit the last state again, with the position of a topic that had none.

        The tap has to have emitted one: a state of ours alone would replace its bookmarks.

        Raises:
            EventStreamsError: It cannot be written.
        """
        if self._state is not None:
            self._write(self._state, {**self._positions, topic_id: position})

    def _write(self, state: bytes, positions: Mapping[int, Position]) -> None:
        self._writer.write(with_positions(state, positions))
        self._state, self._positions = state, dict(positions)
