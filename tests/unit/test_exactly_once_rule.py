"""The rule of `exactly_once`, record by record and state by state."""

from typing import NamedTuple

import pytest
from target_workato_streams.delivery.exactly_once import deduplicator
from target_workato_streams.delivery.exactly_once.deduplicator import (
    HOLD_SECS,
    Deduplicator,
    Matches,
)
from target_workato_streams.delivery.positions import BEGINNING, ResumePoint
from target_workato_streams.delivery.records import Position
from target_workato_streams.message_key import RowVersion

TOPIC, OTHER = 11, 12
START = Position("start")


class Record(NamedTuple):
    """A record of the tap."""

    version: RowVersion
    sequence: int


def version(text: str, stream: str = "a") -> RowVersion:
    """Create a legible version: "1a" is version a of row 1, and "x" a row without a key."""
    row, content = f"{stream:x<8}{text[0]}", text[1:]
    return RowVersion(row, content or row)


class Input:
    """Passes records and states to the rule, after a look-up that has found these versions."""

    def __init__(self, found: str = "") -> None:
        self.now = 1000.0
        self.rule: Deduplicator[Record] = Deduplicator(lambda: self.now)
        self.rule.restore({TOPIC: START, OTHER: START})
        self.rule.add_found(TOPIC, Position("end"), map(version, found.split()))
        self.rule.add_found(OTHER, Position("end"))
        self.states = 0
        self.last = Record(version("-"), 0)

    def add_record(self, text: str, topic_id: int = TOPIC) -> bool:
        """Add the next record to the rule; return whether it is published."""
        self.last = Record(version(text), self.last.sequence + 1)
        return self.rule.add_record(topic_id, self.last)

    def publish(self, text: str, topic_id: int = TOPIC) -> Record:
        """Add a record that has to be published."""
        assert self.add_record(text, topic_id)
        return self.last

    def settle(self, *records: Record, topic_id: int = TOPIC) -> None:
        """Acknowledge records; the position is named after the last one."""
        self.rule.settle(topic_id, records, Position(f"of {records[-1].sequence}"))

    def state(self, name: bytes | None = None) -> None:
        """Pass a STATE; without a name, it differs from all others."""
        self.states += 1
        value = name or b"%d" % self.states
        self.rule.add_state(value, ResumePoint(value))

    def emitted(self) -> tuple[bytes, dict[int, str | None]] | None:
        """Return the state that is emitted now, with its positions."""
        found = self.rule.pop_state()
        if found is None:
            return None
        return found.state, {topic: each.message_id for topic, each in found.positions.items()}


@pytest.fixture
def list_nothing(monkeypatch):
    """As if the found messages were too many to be listed in a state."""
    monkeypatch.setattr(deduplicator, "MAX_LISTED", 0)


@pytest.mark.parametrize(
    ("found", "records", "published", "kept"),
    [
        # A record covers the versions before it, too.
        ("1a 1b 1c 2a", "1b 1c 2a 2a", "2a", ""),
        # The source has a newer version, so an older one is no repetition.
        ("1a 1b", "1c 1a", "1c 1a", ""),
        # Records without a key are matched by count.
        ("x x x", "x x x x", "x", ""),
        ("x x x", "x x", "", ""),
        # The source has gone back to a, but the topic ends with b.
        ("1a 1b 2a 2b", "2a 1a", "", "2a 1a"),
        # It was repeating its history, or has changed again.
        ("1a 1b", "1a 1b", "", ""),
        ("1a 1b", "1a 1c", "1c", ""),
    ],
)
def test_records_that_the_topic_contains_are_skipped(found, records, published, kept):
    given = Input(found)
    assert given.add_record(records.split()[0], OTHER)
    assert [each for each in records.split() if given.add_record(each)] == published.split()
    given.state()
    at_the_end = [
        (topic_id, each.version) for topic_id, each in given.rule.finish(is_complete=True)
    ]
    assert at_the_end == [(TOPIC, version(each)) for each in kept.split()]


def test_the_last_state_waits_for_kept_records():
    """The state that covers them waits for their outcomes."""
    given = Input("1a 1b")
    assert not given.add_record("1a")
    given.state(b"last")
    [(_, kept)] = given.rule.finish(is_complete=True)
    assert given.emitted() is None
    given.settle(kept)
    assert given.emitted() == (b"last", {TOPIC: "of 1", OTHER: "end"})


def test_a_checkpoint_is_emitted_when_all_records_before_it_have_outcomes():
    """Its positions do not contain the outcomes of records after it."""
    given = Input()
    first, second = given.publish("1a"), given.publish("2a", OTHER)
    given.state(b"one")
    third = given.publish("3a")
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


@pytest.mark.usefixtures("list_nothing")
def test_states_are_held_back_until_found_messages_are_covered():
    """Their positions would be after messages whose records the state does not cover."""
    given = Input("1a 2a")
    given.state()
    given.add_record("1a")
    given.state()
    assert given.emitted() is None
    given.add_record("2a")
    given.state(b"all")
    assert given.emitted() == (b"all", {TOPIC: "end", OTHER: "end"})


@pytest.mark.usefixtures("list_nothing")
def test_messages_that_no_record_matches_hold_back_states_for_a_time():
    """Their rows may have been deleted; a record that comes later still matches."""
    given = Input("1a 2a 3a")
    given.now = 2000.0
    given.add_record("1a")
    given.state()
    given.now += HOLD_SECS
    given.state()
    assert given.emitted() is None
    given.now += 1
    given.state()
    assert given.emitted() is not None
    assert not given.add_record("2a")
    given.state()
    assert given.emitted() is None


def test_a_kept_record_holds_back_states_for_any_time():
    """The topic ends with another version of its row."""
    given = Input("1a 1b")
    given.add_record("1a")
    given.state()
    given.now += 10 * HOLD_SECS
    given.state()
    assert given.emitted() is None


@pytest.mark.usefixtures("list_nothing")
def test_messages_that_are_found_after_a_state_hold_back_the_next_one():
    """A topic is looked up at its first record, which may come late."""
    given = Input()
    given.rule.restore({13: START})
    published = given.publish("1a")
    given.state(b"one")
    given.state(b"two")
    given.rule.add_found(13, Position("end"), [version("9a")])
    given.settle(published)
    assert given.emitted() == (b"one", {TOPIC: "of 1", OTHER: "end", 13: "start"})
    assert given.emitted() is None


def test_first_contact_adds_the_position_to_the_last_state():
    """The state is emitted again before the first publish; other positions do not change."""
    rule: Deduplicator[Record] = Deduplicator()
    assert TOPIC not in rule.positions
    rule.add_found(TOPIC, Position(None))
    assert rule.pop_state() is None
    rule.add_state(b"one", ResumePoint(b"one"))
    assert rule.pop_state() is not None
    record = Record(version("1a"), 1)
    assert rule.add_record(TOPIC, record)
    rule.add_state(b"two", ResumePoint(b"two"))
    rule.settle(TOPIC, [record], Position("of 1"))
    rule.add_found(OTHER, Position("end"))
    again = rule.pop_state()
    assert again is not None
    assert (again.state, again.positions) == (
        b"one",
        {TOPIC: Position(None), OTHER: Position("end")},
    )
    checkpoint = rule.pop_state()
    assert checkpoint is not None
    assert checkpoint.positions == {TOPIC: Position("of 1"), OTHER: Position("end")}


def test_positions_that_come_late_do_not_replace_what_was_read():
    """Some taps emit their state after records: the topic has been read by then."""
    rule: Deduplicator[Record] = Deduplicator()
    rule.add_found(TOPIC, Position("B"))
    rule.restore({TOPIC: Position("A"), OTHER: Position("C")})
    assert (rule.positions[TOPIC], rule.positions[OTHER]) == (Position("B"), Position("C"))


def test_the_last_state_is_not_emitted_if_records_follow_it():
    """The tap may have died, so nothing shows that its records are complete."""
    given = Input()
    given.state()
    assert given.emitted() is not None
    given.settle(given.publish("1a"))
    given.rule.finish(is_complete=True)
    assert given.emitted() is None


def test_matches_show_whether_the_keys_have_changed():
    """Without a match, key properties, stream name or columns may have changed."""
    given = Input("1a 2a 2b")
    given.rule.add_found(TOPIC, Position("end"), [version("1", "b")])
    a, b = given.rule.matches.values()
    assert (a, b) == (Matches(3), Matches(1))
    given.publish("1A")
    assert a == Matches(3, 0, is_read=True)
    given.add_record("2b")
    assert (a, b) == (Matches(3, 2, is_read=True), Matches(1))


def test_a_state_from_which_the_tap_starts_again_covers_nothing():
    """It is emitted with the positions of the one before: the next run finds the records."""
    rule: Deduplicator[Record] = Deduplicator()
    rule.add_found(TOPIC, START)
    record = Record(version("1a"), 1)
    assert rule.add_record(TOPIC, record)
    rule.settle(TOPIC, [record], Position("of 1"))
    rule.add_state(b"10,000", BEGINNING)
    again = rule.pop_state()
    assert again is not None
    assert (again.state, again.positions) == (b"10,000", {TOPIC: START})
    rule.add_state(b"markers", ResumePoint(b"new", frozenset("a"), is_resumable=False))
    assert rule.pop_state() is None
    rule.add_state(b"the end", ResumePoint(b"new"))
    end = rule.pop_state()
    assert end is not None
    assert (end.state, end.positions) == (b"the end", {TOPIC: Position("of 1")})


def test_the_end_of_a_stream_covers_its_records():
    """Also if the bookmark has no progress: the mark is gone."""
    rule: Deduplicator[Record] = Deduplicator()
    rule.restore({TOPIC: START})
    marked = ResumePoint(BEGINNING.progress, frozenset("a"))
    rule.add_state(b"start", marked)
    assert rule.pop_state() is not None
    rule.add_found(TOPIC, START)
    record = Record(version("1a"), 1)
    assert rule.add_record(TOPIC, record)
    rule.settle(TOPIC, [record], Position("of 1"))
    rule.add_state(b"between", marked)
    between = rule.pop_state()
    assert between is not None
    assert between.positions == {TOPIC: START}
    rule.add_state(b"end", BEGINNING)
    end = rule.pop_state()
    assert end is not None
    assert (end.state, end.positions) == (b"end", {TOPIC: Position("of 1")})


def test_kept_records_are_published_at_any_end():
    """Some taps do not end with a STATE although they have not failed."""
    given = Input("1a 1b 2a")
    given.add_record("1a")
    assert [each.version for _, each in given.rule.finish(is_complete=False)] == [version("1a")]
    # The tap may have failed before it repeated this row.
    assert not given.add_record("2a")


def test_a_state_lists_the_found_messages_that_it_does_not_cover():
    """The next run finds them again, although its positions are after them."""
    given = Input("9a 9b 1a")
    given.add_record("1a")
    given.state(b"one")
    emitted = given.rule.pop_state()
    assert emitted is not None
    nine = version("9a").row
    assert (emitted.positions[TOPIC].message_id, emitted.uncovered) == (
        "end",
        {(TOPIC, nine): ["a", "b"]},
    )
    following: Deduplicator[Record] = Deduplicator()
    following.restore(emitted.positions, [(TOPIC, version("9a")), (TOPIC, version("9b"))])
    following.add_found(TOPIC, Position("end"))
    assert not following.add_record(TOPIC, Record(version("9b"), 1))
    assert following.add_record(TOPIC, Record(version("9b"), 2))
