"""A state file is used as it is, unwrapped, or rejected; it is never taken for "no state"."""

import json
import re
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.tap import bookmark
from tests.support.tap_output import ago, consumed, ids

REJECTED = [
    ("[]", "state: an array is not a state; expected an object"),
    ('"text"', "state: a string is not a state; expected an object"),
    ("7", "state: a number is not a state; expected an object"),
    ("true", "state: a boolean is not a state; expected an object"),
    ("null", "state: null is not a state; expected an object"),
    ('{"orders"', "state: not JSON ("),
    ('{"orders":{}}', "state: not a state, since it has no bookmarks"),
    ('{"value":null}', "state: null is not a state; expected an object"),
    ('{"completed":{"singer_state":[]}}', "state: an array is not a state; expected an object"),
    ('{"bookmarks":null}', "state: bookmarks is null; expected an object"),
    ('{"bookmarks":[]}', "state: bookmarks is an array; expected an object"),
    ('{"bookmarks":{"topic_1":"A12y"}}', "topic_1 (topic 1): the bookmark in state is a string"),
]
UNUSABLE: list[tuple[Any, str]] = [
    ("A12y", "is a string; expected an object"),
    ([], "is an array; expected an object"),
    (None, "is null; expected an object"),
    (
        {"replication_key": "id", "replication_key_value": "7"},
        "is for id, not for message_id: it belongs to another tap",
    ),
    ({"last_id": 7}, "has no message_id: it belongs to another tap"),
    ({"partitions": []}, "has no message_id: it belongs to another tap"),
    ({"replication_key_value": 7}, "has a replication_key_value that is not a message id"),
    ({"replication_key_value": "A12y", "topic_id": None}, "has a topic_id that is not a number"),
    ({"replication_key_value": "A12y", "topic_id": "1"}, "has a topic_id that is not a number"),
    ({"replication_key_value": "A12y", "topic_id": [1]}, "has a topic_id that is not a number"),
    (
        {
            "replication_key": "time",
            "replication_key_value": "A12y",
            "message_time": "2026-12-01T00:00:00Z",
        },
        "is for time, not for message_id: it belongs to another tap",
    ),
    (
        {"replication_key_value": "A12y", "message_time": "2026-01-31T00:00:00"},
        "has a message_time that is not an RFC 3339 time",
    ),
    ({"message_time": "soon"}, "has a message_time that is not an RFC 3339 time"),
    (
        {"replication_key_value": "A12y", "topic_id": 5},
        "belongs to topic 5; rename the stream, or remove the bookmark",
    ),
]


@pytest.fixture
def published(emulator: Emulator) -> list[str]:
    """Topic 1 with six messages, a minute apart."""
    times = [ago(secs) for secs in range(600, 240, -60)]
    return emulator.load(emulator.create_topic(id=1), [{"n": n} for n in range(6)], times=times)


@pytest.mark.parametrize(
    "text",
    [
        '{"type":"STATE","value":%(newer)s}',
        '{"singer_state":%(newer)s}',
        '{"completed":{"singer_state":%(newer)s}}',
        '{"completed":{"singer_state":%(older)s},"partial":%(newer)s}',
        '{"completed":{"singer_state":%(newer)s},"partial":{}}',
    ],
)
def test_a_state_is_unwrapped(published, run_tap, text):
    """A STATE line, and the formats of Meltano; the state of an interrupted run is newer."""
    older, newer = (
        json.dumps({"bookmarks": {"topic_1": {"replication_key_value": published[at]}}})
        for at in (1, 3)
    )
    done = run_tap(topics=[1], state=text % {"older": older, "newer": newer})
    assert (done.exit_code, ids(done)) == (0, published[4:])


@pytest.mark.parametrize(("text", "line"), REJECTED)
def test_a_run_with_a_file_that_is_not_a_state_sends_no_request(
    emulator, run_tap, tmp_path, text, line
):
    """Otherwise, the topic would be read again from the start."""
    emulator.create_topic(id=1)
    done = run_tap(topics=[1], state=text)
    assert (done.exit_code, done.stdout) == (1, b"")
    [error] = done.error_lines
    before, name, after = line.partition("state")
    assert f"{before}{name} file {tmp_path / 'state.json'}{after}" in error
    assert "Traceback" not in done.stderr
    assert emulator.requests() == []


@pytest.mark.parametrize(("given", "line"), UNUSABLE, ids=str)
def test_a_bookmark_that_cannot_be_used_is_rejected(emulator, published, run_tap, given, line):
    """No request is sent: otherwise the topic would be read again from the start."""
    assert published
    done = run_tap(topics=[1], state={"bookmarks": {"topic_1": given}})
    assert done.exit_code == 1
    [error] = done.error_lines
    assert "topic_1 (topic 1): the bookmark in state file " in error
    assert error.endswith(f"state.json {line}")
    assert emulator.requests() == []


def test_bookmarks_of_other_streams_are_kept_unchanged(published, run_tap):
    """They belong to other taps or to the target, and may contain anything.

    An empty bookmark is no position: the SDK creates one for each stream.
    """
    others: dict[str, Any] = {
        "users": {"replication_key": "id", "replication_key_value": 7},
        "target-workato-streams": {"11": {"message_id": "A12y", "message_time": None}},
        "topic_2": {},
        "odd": "text",
    }
    outcome = run_tap(topics=[1], state={"bookmarks": {"topic_1": {}, **others}})
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
    for state in outcome.states:
        assert {name: state["bookmarks"][name] for name in others} == others


@pytest.mark.parametrize("newest", ["first", "second"])
def test_of_two_bookmarks_for_one_topic_the_newest_is_used(emulator, published, run_tap, newest):
    """A stream that was renamed twice resumes from its last name; the old bookmarks are kept."""
    times = [message.time for message in emulator.messages(1)]
    places = {name: 3 if name == newest else 1 for name in ("first", "second")}
    given = {
        name: {"replication_key_value": published[at], "message_time": times[at], "topic_id": 1}
        for name, at in places.items()
    }
    done = run_tap(topics=[{"id": 1, "name": "third"}], state={"bookmarks": given})
    assert done.exit_code == 0
    assert ids(done, "third") == published[4:]
    assert bookmark(done.states[-1], "third") == published[-1]
    assert {name: done.states[-1]["bookmarks"][name] for name in given} == given


def test_a_bookmark_of_another_topic_is_rejected_if_a_topic_is_read_twice(
    emulator, published, run_tap
):
    """Its message id is never sent: no topic id says which of the two streams it belongs to."""
    emulator.create_topic(id=2)
    given = {"a": {"replication_key_value": published[1], "topic_id": 2}}
    topics = [{"id": 1, "name": "a"}, {"id": 1, "name": "b"}, {"id": 2, "name": "c"}]
    done = run_tap(topics=topics, state={"bookmarks": given})
    assert done.exit_code == 1
    assert re.search(r"a \(topic 1\): .* belongs to topic 2", done.error_lines[-1])


def test_two_streams_that_swap_their_names_keep_their_positions(emulator, published, run_tap):
    """A message id of one topic is never sent to another."""
    other = emulator.load(emulator.create_topic(id=2), [{} for _ in range(4)])
    given = {
        "a": {"replication_key_value": published[1], "topic_id": 1},
        "b": {"replication_key_value": other[2], "topic_id": 2},
    }
    topics = [{"id": 1, "name": "b"}, {"id": 2, "name": "a"}]
    outcome = run_tap(topics=topics, state={"bookmarks": given})
    assert ids(outcome, "b") == published[2:]
    assert ids(outcome, "a") == other[3:]
    assert {body.get("after_message_id") for body in consumed(emulator, 1)} <= set(published)


@pytest.mark.parametrize("record_format", ["nested", "unpacked"])
@pytest.mark.parametrize("steps", [1, 2])
def test_a_topic_that_takes_over_a_name_starts_where_the_settings_say(
    emulator, published, run_tap, record_format, steps
):
    """Neither the position nor the columns of the topic that had the name before apply.

    With two steps, that topic has its new name for a run before the other one gets its old name.
    """
    settings = {"record_format": record_format, "on_expired_bookmark": "since_time"}
    new = emulator.create_topic(id=2)
    other = emulator.load(new, [{"x": n} for n in range(4)], times=[ago(900)] * 4)
    renamed = {"id": 1, "name": "old"}
    state = run_tap(topics=[{"id": 1, "name": "orders"}], **settings).states[-1]
    if steps == 2:
        state = run_tap(topics=[renamed], state=state, **settings).states[-1]
    topics = [renamed, {"id": new, "name": "orders", "start_date": ago(1_000)}]
    run = run_tap(topics=topics, state=state, **settings)
    assert (run.exit_code, run.warnings) == (0, [])
    assert ids(run, "orders") == other
    assert ids(run, "old") == []
    assert "(start_date)" in run.stderr
    assert {name: bookmark(run.states[-1], name) for name in ("old", "orders")} == {
        "old": published[-1],
        "orders": other[-1],
    }
    assert "n" not in run.states[-1]["bookmarks"]["orders"].get("columns", {})
    again = run_tap(topics=topics, state=run.states[-1], **settings)
    assert (again.exit_code, again.records(), again.warnings) == (0, [], [])
