"""The rule of `exactly_once`, record by record and state by state."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from target_workato_streams.exactly_once.deduplicator import HOLD_SECS, Deduplicator, Matches
from target_workato_streams.exactly_once.positions import Position
from target_workato_streams.message_key import RowVersion

TOPIC, OTHER = 11, 12
START = Position("start")


class Record(NamedTuple):
    """A record of the tap."""

    version: RowVersion
    sequence: int


def version(row: str, content: str = "", stream: str = "a") -> RowVersion:
    """Create a legible version; without content, of a row without a key."""
    name = f"{stream:x<8}{row}"
    return RowVersion(name, content or name)


class Input:
    """Passes records and states to the rule, after a look-up that has found these versions."""

    def __init__(self, *found: RowVersion) -> None:
        self.rule: Deduplicator[Record] = Deduplicator()
        self.rule.restore({TOPIC: START, OTHER: START})
        self.rule.look_up(TOPIC, Position("end"), found)
        self.rule.look_up(OTHER, Position("end"))
        self.now = 1000.0
        self.sequence = 0

    def wants(self, row: str, content: str = "", topic_id: int = TOPIC) -> bool:
        """Ask the rule about the next record."""
        self.sequence += 1
        self.last = Record(version(row, content), self.sequence)
        return self.rule.wants(topic_id, self.last)

    def publish(self, row: str, content: str = "", topic_id: int = TOPIC) -> Record:
        """Ask the rule about a record that has to be published."""
        assert self.wants(row, content, topic_id)
        return self.last

    def settle(self, *records: Record, topic_id: int = TOPIC) -> None:
        """Acknowledge records; the position is named after the last one."""
        self.rule.settle(topic_id, records, Position(f"of {records[-1].sequence}"))

    def state(self, name: bytes = b"{}") -> None:
        """Pass a STATE."""
        self.rule.take_state(name, self.now)

    def emitted(self) -> tuple[bytes, dict[int, str | None]] | None:
        """Return the state that is emitted now, with its positions."""
        found = self.rule.take_checkpoint()
        if found is None:
            return None
        return found.state, {topic: each.message_id for topic, each in found.positions.items()}


def test_a_record_that_the_topic_contains_is_skipped():
    """It covers the versions before it, too."""
    given = Input(version("1", "a"), version("1", "b"), version("1", "c"), version("2", "a"))
    assert [given.wants("1", "b"), given.wants("1", "c"), given.wants("2", "a")] == [False] * 3
    assert given.wants("2", "a")
    assert given.rule.finish() == []


def test_a_record_that_the_topic_lacks_is_published_and_covers_its_row():
    """The source has a newer version, so an older one is no repetition."""
    given = Input(version("1", "a"), version("1", "b"))
    assert given.wants("1", "c")
    assert given.wants("1", "a")


def test_equal_records_without_a_key_are_matched_by_count():
    """Of four equal records, the topic contains three."""
    given = Input(*[version("x")] * 3)
    assert [given.wants("x") for _ in range(4)] == [False, False, False, True]


def test_topics_are_matched_by_themselves():
    """What another topic contains does not matter."""
    given = Input(version("1", "a"))
    assert given.wants("1", "a", OTHER)
    assert not given.wants("1", "a")


@pytest.mark.parametrize("content", ["b", "c"])
def test_a_later_record_replaces_a_kept_one(content):
    """The source was repeating its history, or has changed again."""
    given = Input(version("1", "a"), version("1", "b"))
    assert not given.wants("1", "a")
    assert given.wants("1", content) == (content == "c")
    assert given.rule.finish() == []


def test_kept_records_are_published_in_input_order_at_the_end():
    """The source has gone back to a, but the topic ends with b."""
    given = Input(version("1", "a"), version("1", "b"), version("2", "a"), version("2", "b"))
    assert [given.wants("2", "a"), given.wants("1", "a")] == [False, False]
    given.state()
    assert given.rule.take_last() is not None
    kept = given.rule.finish()
    assert [(topic_id, each.version.row[-1]) for topic_id, each in kept] == [
        (TOPIC, "2"),
        (TOPIC, "1"),
    ]
    assert given.rule.take_last() is None
    given.settle(*[record for _, record in kept])
    last = given.rule.take_last()
    assert last is not None
    assert last.positions[TOPIC] == Position("of 2")


def test_a_checkpoint_is_emitted_when_all_records_before_it_have_outcomes():
    """Its positions do not contain the outcomes of records after it."""
    given = Input()
    first, second = given.publish("1", "a"), given.publish("2", "a", OTHER)
    given.state(b"one")
    third = given.publish("3", "a")
    given.state(b"two")
    assert given.rule.cut == 2
    given.settle(first)
    given.settle(third)
    assert given.emitted() is None
    given.settle(second, topic_id=OTHER)
    assert given.emitted() == (b"one", {TOPIC: "of 1", OTHER: "of 2"})
    # No record follows the second state, so it is the next checkpoint.
    assert given.emitted() == (b"two", {TOPIC: "of 3", OTHER: "of 2"})
    assert given.emitted() is None


def test_states_while_a_checkpoint_is_open_are_covered_by_a_later_one():
    """A record follows the second state, so only a third one can be emitted."""
    given = Input()
    first = given.publish("1", "a")
    given.state(b"one")
    second = given.publish("2", "a")
    given.state(b"two")
    third = given.publish("3", "a")
    given.settle(first)
    assert given.emitted() == (b"one", {TOPIC: "of 1", OTHER: "end"})
    assert given.rule.cut == 0
    given.settle(second, third)
    assert given.emitted() is None
    given.state(b"three")
    assert given.emitted() == (b"three", {TOPIC: "of 3", OTHER: "end"})


def test_a_rejected_record_has_an_outcome_but_no_position():
    """It is in the dead-letter file."""
    given = Input()
    rejected = given.publish("1", "a")
    given.state()
    given.rule.settle(TOPIC, [rejected], None)
    assert given.emitted() == (b"{}", {TOPIC: "end", OTHER: "end"})


def test_states_are_held_back_until_found_messages_are_covered():
    """Their positions would be after messages whose records the state does not cover."""
    given = Input(version("1", "a"), version("2", "a"))
    given.state()
    given.wants("1", "a")
    given.state()
    assert given.emitted() is None
    given.wants("2", "a")
    given.state(b"all")
    assert given.emitted() == (b"all", {TOPIC: "end", OTHER: "end"})


def test_messages_that_no_record_matches_hold_back_states_for_a_time():
    """Their rows may have been deleted; a record that comes later still matches."""
    given = Input(version("1", "a"), version("2", "a"), version("3", "a"))
    given.now = 2000.0
    given.wants("1", "a")
    given.state()
    given.now += HOLD_SECS
    given.state()
    assert given.emitted() is None
    given.now += 1
    given.state()
    assert given.emitted() is not None
    assert not given.wants("2", "a")
    given.state()
    assert given.emitted() is None


def test_a_kept_record_holds_back_states_for_any_time():
    """The topic ends with another version of its row."""
    given = Input(version("1", "a"), version("1", "b"))
    given.wants("1", "a")
    given.state()
    given.now += 10 * HOLD_SECS
    given.state()
    assert given.emitted() is None


def test_messages_that_are_found_after_a_state_hold_back_the_next_one():
    """A topic is looked up at its first record, which may come late."""
    given = Input()
    given.rule.restore({13: START})
    published = given.publish("1", "a")
    given.state(b"one")
    given.state(b"two")
    given.rule.look_up(13, Position("end"), [version("9", "a")])
    given.settle(published)
    assert given.emitted() == (b"one", {TOPIC: "of 1", OTHER: "end", 13: "start"})
    assert given.emitted() is None


def test_first_contact_adds_the_position_to_the_last_state():
    """The state is emitted again before the first publish; other positions do not change."""
    rule: Deduplicator[Record] = Deduplicator()
    assert rule.position(TOPIC) is None
    assert rule.look_up(TOPIC, Position(None)) is None
    rule.take_state(b"one", 0.0)
    assert rule.take_checkpoint() is not None
    record = Record(version("1", "a"), 1)
    assert rule.wants(TOPIC, record)
    rule.take_state(b"two", 0.0)
    rule.settle(TOPIC, [record], Position("of 1"))
    again = rule.look_up(OTHER, Position("end"))
    assert again is not None
    assert (again.state, again.positions) == (
        b"one",
        {TOPIC: Position(None), OTHER: Position("end")},
    )
    checkpoint = rule.take_checkpoint()
    assert checkpoint is not None
    assert checkpoint.positions == {TOPIC: Position("of 1"), OTHER: Position("end")}


def test_positions_that_come_late_do_not_replace_what_was_read():
    """Some taps emit their state after records: the topic has been read by then."""
    rule: Deduplicator[Record] = Deduplicator()
    rule.look_up(TOPIC, Position("B"))
    rule.restore({TOPIC: Position("A"), OTHER: Position("C")})
    assert (rule.position(TOPIC), rule.position(OTHER)) == (Position("B"), Position("C"))


def test_the_last_state_is_not_emitted_if_records_follow_it():
    """The tap may have died, so nothing shows that its records are complete."""
    given = Input()
    given.state()
    given.settle(given.publish("1", "a"))
    assert given.rule.take_last() is None


def test_matches_show_whether_the_keys_have_changed():
    """Without a match, key properties, stream name or columns may have changed."""
    given = Input(version("1", "a"), version("2", "a"), version("3", "a"))
    given.publish("1", "A")
    assert given.rule.matches == [Matches(TOPIC, 3, 0)]
    given.wants("2", "a")
    assert given.rule.matches == [Matches(TOPIC, 3, 1)]
    given.rule.look_up(TOPIC, Position("end"), [version("1", stream="b")])
    assert given.rule.matches == [Matches(TOPIC, 3, 1), Matches(TOPIC, 1, 0)]
