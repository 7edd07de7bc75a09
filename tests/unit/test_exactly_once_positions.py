"""The positions in a state: added, read and removed, and nothing else changes."""

import json

import pytest
from target_workato_streams.delivery.positions import (
    BEGINNING,
    ResumePoint,
    read_state,
    resume_point,
    with_positions,
    without_positions,
)
from target_workato_streams.delivery.records import Position
from target_workato_streams.event_streams.errors import EventStreamsError
from target_workato_streams.message_key import RowVersion


@pytest.mark.parametrize(
    "state",
    [
        b"{}",
        b'{"bookmarks":null}',
        b'{"bookmarks":{}}',
        b'{"currently_syncing":"a","bookmarks":{"a": {"x": 1.10, "\\u00e9" : 1E5}},"z":[1]}',
        b'{"bookmarks":{"target-workato-streams":{"7":{"message_id":"old"}},"b":{"x":1}}}',
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


EMPTY, MARKED = b"{}", b'{"starting_replication_value":null}'
SORTED = b'{"replication_key":"u","replication_key_value":1}'
UNSORTED = b'{"progress_markers":{"replication_key_value":2},"replication_key_value":1}'
PARTS = b'{"partitions":[{"context":{"id":1}}]}'


def point(bookmark: bytes) -> ResumePoint:
    """Where a tap resumes from this bookmark of its only stream."""
    return resume_point(b'{"bookmarks":{"a":%b,"target-workato-streams":{"1":{}}}}' % bookmark)


def test_a_bookmark_says_where_the_tap_resumes():
    """The SDK emits states from which it starts a stream again."""
    beginning = resume_point(b'{"bookmarks":{}}')
    assert beginning == BEGINNING
    for bookmark in (EMPTY, MARKED, PARTS):
        assert point(bookmark).progress == beginning.progress
    assert point(SORTED).progress != beginning.progress
    assert point(b"1").progress != point(b"2").progress
    assert resume_point(b'{"offset":1}').progress != resume_point(b'{"offset":2}').progress
    in_between = point(UNSORTED)
    assert (in_between.is_resumable, in_between.unfinished) == (False, frozenset("a"))
    same = point(b'{"replication_key_value":1}')
    assert (same.progress, same.is_resumable) == (in_between.progress, True)
    parts = point(b'{"partitions":[{"context":{"id":1},"progress_markers":{}}]}')
    assert (parts.is_resumable, parts.unfinished) == (False, frozenset("a"))
    assert (point(EMPTY).unfinished, point(MARKED).unfinished) == (frozenset(), frozenset("a"))


def test_only_a_bookmark_without_progress_is_marked():
    """The SDK removes the mark at the end of the stream, so that its state differs then."""
    for bookmark in (SORTED, b'{"x":1}', b"7", MARKED):
        state = b'{"bookmarks":{"a":%b}}' % bookmark
        assert bookmark in with_positions(state, {1: Position("A")})
    assert MARKED in with_positions(b'{"bookmarks":{"a":{}}}', {1: Position("A")})
    marked = with_positions(b'{"bookmarks":{"a":%b}}' % PARTS, {1: Position("A")})
    assert json.loads(marked)["bookmarks"]["a"] == {**json.loads(PARTS), **json.loads(MARKED)}


def test_a_state_lists_messages_that_it_does_not_cover():
    """They are in the bookmark of their topic, in topic order."""
    row, contents = "1" * 32, ["a" * 32, "b" * 32]
    state = with_positions(b"{}", {7: Position("A"), 8: Position("B")}, {(7, row): contents})
    returned = read_state(state)
    assert returned.positions == {7: Position("A"), 8: Position("B")}
    assert returned.uncovered == [(7, RowVersion(row, each)) for each in contents]
    assert b"uncovered" not in with_positions(b"{}", {8: Position("B")}, {})
