"""The rule of exactly once, record by record: what a look-up has found decides."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest
from target_workato_streams.event_streams.errors import EventStreamsError
from target_workato_streams.exactly_once.positions import (
    Position,
    read_state,
    with_positions,
    without_positions,
)
from target_workato_streams.message_key import RowVersion
from target_workato_streams.state.exactly_once import ExactlyOnce
from target_workato_streams.state.replay import Decision

TOPIC = 11
PUBLISH, SKIP, KEEP, WAIT = Decision.PUBLISH, Decision.SKIP, Decision.KEEP, Decision.WAIT


class Sent(NamedTuple):
    """A record of the tap."""

    version: RowVersion
    sequence: int


def version(row: str, content: str = "", *, stream: str = "a") -> RowVersion:
    """A version, legible in a failed test; without content, of a row without a key."""
    name = f"{stream:x<8}{row}"
    return RowVersion(name, content or name)


class Input:
    """Feeds the rule with records, whose sequence it counts."""

    def __init__(self, *found: RowVersion, limit: int = 1000) -> None:
        self.rule: ExactlyOnce[Sent] = ExactlyOnce(limit)
        self.rule.look_up(TOPIC, Position("A1"), found)
        self.sequence = 0

    def send(self, row: str, content: str = "", *, stream: str = "a") -> Decision:
        """Decide about a record."""
        self.sequence += 1
        self.last = Sent(version(row, content, stream=stream), self.sequence)
        return self.rule.decide(TOPIC, self.last)

    def publish(self, row: str, content: str = "", *, stream: str = "a") -> None:
        """Decide about a record that is to be published, and is."""
        assert self.send(row, content, stream=stream) is PUBLISH
        self.rule.accept(TOPIC, self.last)

    def is_over(self) -> bool:
        """Whether the replay of a stream is over."""
        return self.rule.is_replay_over

    def covers(self) -> bool:
        """Whether a state that comes now may be emitted."""
        return self.rule.covers(self.sequence)


def test_a_record_that_the_topic_holds_is_skipped() -> None:
    """The source has also gone past the versions before it. Then the state is true again."""
    given = Input(version("1", "a"), version("1", "b"), version("1", "c"), version("2", "a"))
    assert not given.covers()
    assert given.send("1", "a") is KEEP
    assert given.send("1", "c") is SKIP
    assert not given.covers()
    assert given.send("2", "a") is SKIP
    assert given.covers()
    assert given.send("2", "a") is PUBLISH


def test_a_record_that_the_topic_lacks_is_published_and_ends_the_list() -> None:
    """The older versions are not published again behind it."""
    given = Input(version("1", "a"), version("1", "b"))
    given.publish("1", "c")
    assert given.covers()
    assert given.send("1", "a") is PUBLISH


def test_a_rejected_record_does_not_end_the_list() -> None:
    """The row's next record finds what the topic holds."""
    given = Input(version("1", "a"))
    assert given.send("1", "!") is PUBLISH
    rejected = given.last
    assert given.send("1", "a") is WAIT
    given.rule.reject(TOPIC, rejected)
    assert given.rule.decide(TOPIC, given.last) is SKIP
    assert given.covers()


def test_only_the_row_itself_waits_for_a_published_record() -> None:
    """Other rows continue; no state covers the list before the record is acknowledged."""
    given = Input(version("1", "a"), version("2", "a"))
    assert given.send("1", "b") is PUBLISH
    published = given.last
    assert given.send("2", "a") is SKIP
    assert not given.covers()
    given.rule.accept(TOPIC, published)
    assert given.covers()


def test_equal_records_without_a_key_are_matched_by_count() -> None:
    """Three of four reached the topic: one is published."""
    given = Input(version("x"), version("x"), version("x"))
    assert [given.send("x") for _ in range(4)] == [SKIP, SKIP, SKIP, PUBLISH]


def test_a_reverted_row_is_kept_until_the_input_ends() -> None:
    """The topic ends with b, the source is at a again: a is published after all."""
    given = Input(version("1", "a"), version("1", "b"))
    assert given.send("1", "a") is KEEP
    assert not given.covers()
    [(topic_id, kept)] = given.rule.end_input()
    assert (topic_id, kept) == (TOPIC, given.last)


def test_reverted_rows_are_published_in_input_order() -> None:
    """The order of their first versions in the topic does not matter."""
    given = Input(version("1", "a"), version("1", "b"), version("2", "a"), version("2", "b"))
    assert [given.send("2", "a"), given.send("1", "a")] == [KEEP, KEEP]
    assert [record.version.row[-1] for _, record in given.rule.end_input()] == ["2", "1"]


def test_a_later_record_resolves_a_reverted_row() -> None:
    """It was no revert, but a history that is replayed."""
    given = Input(version("1", "a"), version("1", "b"))
    assert [given.send("1", "a"), given.send("1", "b")] == [KEEP, SKIP]
    assert given.covers()
    assert given.rule.end_input() == []


def test_a_replay_is_over_after_more_records_than_can_be_unacknowledged() -> None:
    """Accepted records count from the stream's last listed record."""
    given = Input(version("1", "a"), version("1", "b"), version("9"), limit=3)
    for row in "4567":
        given.publish(row, "z", stream="b")
    assert not given.is_over()  # the stream has not begun
    assert given.send("1", "a") is KEEP
    kept = given.last
    for row in "45":
        given.publish(row, "a")
    assert given.send("6", "!") is PUBLISH
    given.rule.reject(TOPIC, given.last)
    given.publish("7", "z", stream="b")
    assert not given.is_over()
    given.publish("8", "a")
    assert given.is_over()
    assert given.rule.end_replays() == [(TOPIC, kept)]
    assert given.covers()
    assert not given.is_over()


def test_a_skip_restarts_the_count_of_its_stream() -> None:
    """As long as records of the stream are found, the replay goes on."""
    given = Input(version("1", "a"), version("2", "a"), version("2", "b"), limit=2)
    given.publish("5", "a")
    given.publish("6", "a")
    assert given.send("1", "a") is SKIP
    given.publish("7", "a")
    given.publish("8", "a")
    assert not given.is_over()


def test_topics_do_not_share_lists() -> None:
    """What another topic holds says nothing about this one."""
    given = Input(version("1", "a"))
    given.rule.look_up(12, Position(None), [version("2", "a")])
    assert given.send("2", "a") is PUBLISH
    assert given.rule.decide(12, Sent(version("2", "a"), 2)) is SKIP


def test_a_state_covers_no_message_behind_it() -> None:
    """A record after the state was acknowledged first: only a later state is true."""
    given = Input()
    given.publish("1", "a")
    assert given.rule.covers(1)
    given.publish("2", "a")
    assert not given.rule.covers(1)
    assert given.rule.covers(2)


def test_a_state_does_not_cover_a_skipped_record_after_it() -> None:
    """The position is after that record's message, so the next run would publish it again."""
    given = Input(version("2", "a"))
    assert given.send("1", "a") is PUBLISH
    published = given.last
    assert given.send("2", "a") is SKIP
    given.rule.accept(TOPIC, published)
    assert not given.rule.covers(1)
    assert given.rule.covers(2)


def test_positions_come_from_the_first_state_alone() -> None:
    """The tap returns the same ones with each state, and they are old by then."""
    rule: ExactlyOnce[Sent] = ExactlyOnce()
    first = with_positions(b'{"bookmarks":{"a":{}}}', {11: Position("A", "t"), 12: Position(None)})
    returned = rule.take_state(first)
    assert returned is not None
    assert returned.has_bookmarks
    assert rule.positions == {11: Position("A", "t"), 12: Position(None)}
    rule.look_up(11, Position("B"))
    assert rule.take_state(first) is None
    assert rule.positions == {11: Position("B"), 12: Position(None)}


def test_positions_that_come_late_do_not_replace_what_was_read() -> None:
    """A tap that emits its first state after records: the topic has been looked up by then."""
    rule: ExactlyOnce[Sent] = ExactlyOnce()
    rule.look_up(11, Position("B"))
    rule.take_state(with_positions(b"{}", {11: Position("A"), 12: Position("C")}))
    assert rule.positions == {11: Position("B"), 12: Position("C")}


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
def test_positions_are_added_to_a_state_and_nothing_else_changes(state: bytes) -> None:
    """Every other value keeps its bytes."""
    given = {11: Position("A12y", "2023-04-14T15:07:14.437+00:00"), 3: Position(None)}
    spliced = with_positions(state, given)
    assert read_state(spliced).positions == given
    decoded, before = json.loads(spliced), json.loads(state)
    del decoded["bookmarks"]["target-workato-streams"]
    (before.setdefault("bookmarks", {}) or {}).pop("target-workato-streams", None)
    assert decoded == {**before, "bookmarks": before["bookmarks"] or {}}
    assert (b"1.10" in state) == (b'{"x": 1.10, "\\u00e9" : 1E5}' in spliced)


def test_positions_are_removed_from_a_state_and_nothing_else_changes() -> None:
    """Without `exactly_once`, positions would not move with what is published."""
    state = b'{"a":1.10,"bookmarks":{"target-workato-streams":{"7":{}},"b":{"x": 1E5}}}'
    assert without_positions(state) == b'{"a":1.10,"bookmarks":{"b":{"x": 1E5}}}'
    for other in (b'{ "a": 1 }', b'{"bookmarks":"target-workato-streams"}', b'{"bookmarks":{}}'):
        assert without_positions(other) == other


def test_a_state_without_positions_stays_as_it_is() -> None:
    """A state has no positions as long as no topic has been looked up."""
    assert with_positions(b'{ "a" : 1 }', {}) == b'{ "a" : 1 }'


@pytest.mark.parametrize("bookmark", [1, [], {"11": 1}, {"x": {"message_id": "A"}}, {"11": {}}])
def test_malformed_positions_are_rejected(bookmark: Any) -> None:  # noqa: ANN401
    """Malformed positions are never silently treated as absent."""
    state = json.dumps({"bookmarks": {"target-workato-streams": bookmark}}).encode()
    with pytest.raises(EventStreamsError, match="malformed"):
        read_state(state)


def test_bookmarks_of_another_shape_are_rejected() -> None:
    """Bookmarks that are not an object have no place for positions."""
    with pytest.raises(EventStreamsError, match="not an object"):
        with_positions(b'{"bookmarks":[1]}', {11: Position("A")})


@pytest.mark.parametrize("key", [None, 1, "", "0" * 32, "0" * 32 + "-" + "G" * 32, "x" * 65])
def test_other_values_are_no_message_keys(key: object) -> None:
    """Messages of other producers do not count as ours."""
    assert RowVersion.from_key(json.dumps(key).encode()) is None


def test_a_message_key_names_stream_row_and_content() -> None:
    """The first digits are those of the stream; equal halves are a row without a key."""
    found = RowVersion.from_key(b'"01234567%b-%b"' % (b"8" * 24, b"9" * 32))
    assert found is not None
    assert (found.stream, found.is_keyed) == ("01234567", True)
    assert not RowVersion("8" * 32, "8" * 32).is_keyed
