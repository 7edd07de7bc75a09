"""The positions in a state: added, read and removed, and nothing else changes."""

import json

import pytest
from target_workato_streams.event_streams.errors import EventStreamsError
from target_workato_streams.exactly_once.positions import (
    Position,
    read_state,
    with_positions,
    without_positions,
)


@pytest.mark.parametrize(
    "state",
    [
        b"{}",
        b'{"bookmarks":null}',
        b'{"bookmarks":{}}',
        b'{"currently_syncing":"a","bookmarks":{"a": {"x": 1.10, "\\u00e9" : 1E5}},"z":[1]}',
        b'{"bookmarks":{"target-workato-streams":{"7":{"message_id":"old"}},"b":{}}}',
        b'{"bookmarks":{"a":{"replication_key_value":"\\ud800"}}}',
    ],
)
def test_positions_are_added_to_a_state_and_nothing_else_changes(state):
    given = {11: Position("A12y", "2023-04-14T15:07:14.437+00:00"), 3: Position(None)}
    spliced = with_positions(state, given)
    assert read_state(spliced).positions == given
    decoded, before = json.loads(spliced), json.loads(state)
    del decoded["bookmarks"]["target-workato-streams"]
    (before.setdefault("bookmarks", {}) or {}).pop("target-workato-streams", None)
    assert decoded == {**before, "bookmarks": before["bookmarks"] or {}}
    assert (b"1.10" in state) == (b'{"x": 1.10, "\\u00e9" : 1E5}' in spliced)


def test_positions_are_removed_from_a_state_and_nothing_else_changes():
    """Without `exactly_once`, positions would not move with what is published."""
    state = b'{"a":1.10,"bookmarks":{"target-workato-streams":{"7":{}},"b":{"x": 1E5}}}'
    assert without_positions(state) == b'{"a":1.10,"bookmarks":{"b":{"x": 1E5}}}'
    for other in (b'{ "a": 1 }', b'{"bookmarks":"target-workato-streams"}', b'{"bookmarks":{}}'):
        assert without_positions(other) == other


def test_a_state_without_positions_stays_as_it_is():
    assert with_positions(b'{ "a" : 1 }', {}) == b'{ "a" : 1 }'


@pytest.mark.parametrize("bookmark", [1, [], {"11": 1}, {"x": {"message_id": "A"}}, {"11": {}}])
def test_malformed_positions_are_rejected(bookmark):
    state = json.dumps({"bookmarks": {"target-workato-streams": bookmark}}).encode()
    with pytest.raises(EventStreamsError, match="malformed"):
        read_state(state)
