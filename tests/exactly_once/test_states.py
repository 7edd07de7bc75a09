"""The states that are emitted with `exactly_once`, and their positions."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from target_workato_streams.exactly_once.positions import Position
from target_workato_streams.publishing.positioned_states import PositionedStates
from target_workato_streams.state.exactly_once import ExactlyOnce

if TYPE_CHECKING:
    from target_workato_streams.publishing.messages import OutgoingMessage

STATE = b'{"bookmarks":{"a":{}}}'


def positions(state: bytes | None) -> dict[str, str | None]:
    """Return the positions in a state."""
    assert state is not None
    found = json.loads(state)["bookmarks"]["target-workato-streams"]
    return {topic: position["message_id"] for topic, position in found.items()}


def test_first_contact_does_not_move_the_positions_of_other_topics() -> None:
    """The state that is emitted again does not cover later messages of these topics."""
    rule: ExactlyOnce[OutgoingMessage] = ExactlyOnce()
    states = PositionedStates(rule)
    assert states.with_position(12, Position(None)) is None
    rule.look_up(11, Position("A"))
    assert positions(states.of(STATE)) == {"11": "A"}
    rule.move(11, Position("B"))
    assert positions(states.with_position(12, Position(None))) == {"11": "A", "12": None}
    again = states.with_position(13, Position("C"))
    assert positions(again) == {"11": "A", "12": None, "13": "C"}


def test_a_state_restarts_the_time_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading pauses when that time is over, until all topics have reached the same state."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    states = PositionedStates(ExactlyOnce())
    now = 107.0
    states.of(STATE)
    assert states.emitted_at == pytest.approx(107.0)
