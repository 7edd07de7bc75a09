"""The states that are emitted with `exactly_once`, and their positions."""

from __future__ import annotations

import json
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from target_workato_streams.publishing.positioned_acknowledgements import (
    PositionedAcknowledgements,
)
from target_workato_streams.state.exactly_once import ExactlyOnce
from target_workato_streams.state.positions import Position
from typing_extensions import override

if TYPE_CHECKING:
    from target_workato_streams.publishing.messages import Message

STATE = b'{"bookmarks":{"a":{}}}'


class States(PositionedAcknowledgements):
    """Acknowledgements that collect states instead of writing them, without a run around them."""

    def __init__(self) -> None:
        shutdown: Any = SimpleNamespace()
        self.rule: ExactlyOnce[Message] = ExactlyOnce()
        self.written: list[bytes | None] = []
        super().__init__(None, shutdown, self.rule)

    @override
    def write(self, state: bytes | None) -> None:
        self.written.append(state)

    def emit_one(self) -> None:
        """Emit a state that covers everything."""
        self.close_checkpoint(STATE)
        self.emit_state()

    def positions(self) -> dict[str, str | None]:
        """Return the positions in the last state that was emitted."""
        state = json.loads([state for state in self.written if state is not None][-1])
        found = state["bookmarks"]["target-workato-streams"]
        return {topic: position["message_id"] for topic, position in found.items()}


def test_first_contact_does_not_move_the_positions_of_other_topics() -> None:
    """The state that is emitted again does not cover later messages of these topics."""
    states = States()
    states.rule.look_up(11, Position("A"))
    states.emit_one()
    states.rule.move(11, Position("B"))
    states.add_position(12, Position(None))
    assert states.positions() == {"11": "A", "12": None}
    states.add_position(13, Position("C"))
    assert states.positions() == {"11": "A", "12": None, "13": "C"}


def test_the_rest_of_a_state_is_written_although_there_is_no_newer_one() -> None:
    """The reader of stdout may have been too slow for all of it."""
    states = States()
    states.emit_state()
    assert states.written == [None]


def test_a_state_restarts_the_time_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading pauses when that time is over, until all topics have reached the same state."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    states = States()
    now = 107.0
    states.emit_one()
    assert states.emitted_at == pytest.approx(107.0)
