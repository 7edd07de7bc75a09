"""An expired bookmark is detected by probing; a warning names the time span of the loss."""

from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.running import eventually
from tests.support.tap import bookmark
from tests.support.tap_output import ago, assert_states_are_true, consumed, ids

State = dict[str, Any]


@pytest.fixture
def published(emulator: Emulator) -> list[str]:
    """Topic 1 with one message per hour, the last one of an hour ago."""
    topic = emulator.create_topic()
    times = [ago(3_600 * hours) for hours in range(8, 0, -1)]
    return emulator.load(topic, ({"n": n} for n in range(8)), times=times)


@pytest.fixture
def state(emulator: Emulator, published: list[str]) -> State:
    """The state of a run that read three messages, the third of which has expired since."""
    third = emulator.messages(1)[2]
    emulator.expire(1, published[3])
    resume = {"replication_key_value": third.message_id, "message_time": third.time}
    return {"bookmarks": {"topic_1": resume}}


@pytest.mark.parametrize("status", [400, 404, 409, 410, 416, 422])
def test_all_remaining_messages_are_read_whatever_4xx_the_service_uses(
    emulator, published, state, run_tap, status
):
    """A rejection, a probe, a second rejection; then it continues at the earliest message.

    One warning names the topic, the bookmark and the time span of the loss.
    """
    emulator.configure(expired_status=status)
    earliest = emulator.messages(1)[0].time
    outcome = run_tap(topics=[1], state=state, batch_size=10)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[4:]
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
    assert consumed(emulator) == [
        {"batch_size": 10, "after_message_id": published[2]},
        {"batch_size": 1},
        {"batch_size": 10, "after_message_id": published[2]},
        {"batch_size": 10},
        {"batch_size": 10, "after_message_id": published[-1]},
    ]
    [line] = outcome.warnings
    assert f"topic_1 (topic 1): bookmark {published[2]} has expired or was purged ({status}" in line
    expired = state["bookmarks"]["topic_1"]["message_time"]
    assert f"messages published between {expired} and {earliest} may be lost" in line


def test_since_time_skips_no_message_of_the_same_millisecond(emulator, topic, run_tap):
    """Messages of one batch share a time, and the service returns only newer ones.

    `since_time` is sent once, and never together with a cursor.
    """
    published = emulator.load(topic, [{"n": n} for n in range(4)], times=[ago(60)] * 4)
    first = run_tap(topics=[topic], max_messages=1)
    emulator.expire(topic, published[0])
    emulator.clear_requests()
    outcome = run_tap(topics=[topic], state=first.states[-1], on_expired_bookmark="since_time")
    assert outcome.exit_code == 0
    assert ids(outcome) == published[1:]
    since, after = consumed(emulator)[3:]
    assert since.keys() == {"batch_size", "since_time"}
    assert after == {"batch_size": 50, "after_message_id": published[-1]}
    assert len(outcome.warnings) == 1


def test_since_time_without_a_time_continues_at_the_earliest_message(
    emulator, published, state, run_tap
):
    del state["bookmarks"]["topic_1"]["message_time"]
    outcome = run_tap(topics=[1], state=state, on_expired_bookmark="since_time")
    assert ids(outcome) == published[4:]
    assert "since_time" not in consumed(emulator)[3]
    assert "unknown" in outcome.warnings[0]


def test_since_time_skips_nothing_if_the_time_is_in_the_future(published, state, run_tap):
    """The service takes it for now, so the run continues at the earliest message."""
    state["bookmarks"]["topic_1"]["message_time"] = ago(-3_600)
    outcome = run_tap(topics=[1], state=state, on_expired_bookmark="since_time")
    assert outcome.exit_code == 0
    assert ids(outcome) == published[4:]
    [line] = outcome.warnings
    assert "between an unknown time and" in line
    assert line.endswith("continuing at the earliest message")


def test_fail_ends_the_run_with_the_bookmark_unchanged(emulator, published, state, run_tap):
    outcome = run_tap(topics=[1], state=state, on_expired_bookmark="fail")
    assert outcome.exit_code == 1
    assert outcome.records() == []
    assert {bookmark(each, "topic_1") for each in outcome.states} == {published[2]}
    [line] = outcome.error_lines
    for part in ("topic 1", published[2], state["bookmarks"]["topic_1"]["message_time"]):
        assert part in line
    assert "on_expired_bookmark" in line
    assert len(emulator.requests()) == 3
    assert outcome.warnings == []


@pytest.mark.parametrize(
    ("fault", "requests"),
    [
        # Only a 4xx can be due to the cursor, and these two cannot.
        ({"status": 302, "headers": {"Location": "/login"}}, 1),
        *(({"status": status}, 1) for status in (401, 403)),
        # The probe without the cursor is rejected, too, so the topic is the cause.
        *(({"status": status}, 2) for status in (400, 404)),
    ],
    ids=str,
)
def test_what_fails_without_the_cursor_does_not_expire_it(
    emulator, published, run_tap, fault, requests
):
    emulator.fault("status", times=-1, **fault)
    given = {"bookmarks": {"topic_1": {"replication_key_value": published[5]}}}
    outcome = run_tap(topics=[1], state=given)
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == requests
    [line] = outcome.error_lines
    assert f"topic_1 (topic 1): HTTP {fault['status']}" in line
    assert "expired" not in outcome.stderr
    assert outcome.states[-1] == given


@pytest.mark.parametrize(("after", "status"), [(0, 400), (5, 404), (7, 410)])
def test_a_stray_4xx_does_not_read_the_topic_again(emulator, published, run_tap, after, status):
    """The cursor is tried once more after the probe, and each message is written once."""
    state = {"bookmarks": {"topic_1": {"replication_key_value": published[0]}}}
    emulator.fault("status", status=status, after=after)
    outcome = run_tap(topics=[1], batch_size=1, state=state)
    assert ids(outcome) == published[1:]
    assert_states_are_true(outcome, state)
    assert "expired" not in outcome.stderr
    assert f"ignored HTTP {status}" in outcome.stderr


@pytest.mark.parametrize("policy", ["earliest", "since_time"])
def test_a_service_that_rejects_every_cursor_ends_the_run(emulator, published, run_tap, policy):
    emulator.fault("reject_position", times=-1)
    outcome = run_tap(topics=[1], batch_size=5, on_expired_bookmark=policy)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1): the service rejects message " in line
    assert len(emulator.requests()) < 30
    assert set(ids(outcome)) <= set(published)
    assert bookmark(outcome.states[-1], "topic_1") == ids(outcome)[-1]


@pytest.mark.parametrize("policy", ["earliest", "since_time"])
@pytest.mark.parametrize("service", [{}, {"date_header": False, "clock_offset_secs": -3_600}])
def test_an_empty_topic_is_reported_once_and_continues_with_the_next_message(
    emulator, run_tap, topic, service, policy
):
    """A topic may be quieter than its retention. The time span of the warning ends now.

    The bookmark becomes a time that skips nothing, whatever the clocks say.
    """
    emulator.configure(**service)
    emulator.load(topic, [{"n": 1}], times=[ago(7_200)])
    settings = {"topics": [topic], "on_expired_bookmark": policy}
    state = run_tap(**settings).states[-1]
    time = state["bookmarks"]["topic_1"]["message_time"]
    emulator.purge(topic)
    first = run_tap(state=state, **settings)
    assert (first.exit_code, first.records()) == (0, [])
    assert f"messages published between {time} and now may be lost" in "".join(first.warnings)
    emulator.clear_requests()
    quiet = run_tap(state=first.states[-1], **settings)
    assert (quiet.exit_code, quiet.states) == (0, first.states[-1:])
    assert "expired" not in quiet.stderr
    assert consumed(emulator) == [{"batch_size": 50, "since_time": time}]
    after = emulator.load(topic, [{"n": 2}])
    next_run = run_tap(state=quiet.states[-1], **settings)
    assert ids(next_run) == after
    assert bookmark(next_run.states[-1], "topic_1") == after[0]


def test_an_empty_topic_keeps_a_bookmark_without_a_time(emulator, state, run_tap):
    """Otherwise, `start_from: latest` would skip what is published before the next run."""
    del state["bookmarks"]["topic_1"]["message_time"]
    emulator.purge(1)
    settings = {"topics": [1], "start_from": "latest"}
    first = run_tap(state=state, **settings)
    after = emulator.load(1, [{"n": 9}])
    assert ids(run_tap(state=first.states[-1], **settings)) == after


def test_a_probe_that_fails_temporarily_is_retried(emulator, published, state, run_tap):
    emulator.fault("status", status=503, after=1, times=1)
    outcome = run_tap(topics=[1], state=state)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[4:]


def test_a_bookmark_may_expire_in_tail_mode(emulator, published, start_tap):
    tail = start_tap(topics=[1], tail=True, timeout_secs=1, state_interval_secs=0.2)
    tail.wait_for_bookmark("topic_1", published[-1])
    emulator.purge(1)
    after = emulator.load(1, [{"n": 9}, {"n": 10}])
    tail.wait_for_bookmark("topic_1", after[-1])
    more = emulator.load(1, [{"n": 11}])
    tail.wait_for_records(11)
    eventually(lambda: ids(tail.so_far) == [*published, *after, *more], "each message once")


def test_a_time_bookmark_never_expires(emulator, topic, run_tap):
    """A run from `latest` in an idle topic ends with a timestamp, which cannot expire."""
    first = run_tap(topics=[topic], start_from="latest")
    between = emulator.load(topic, [{"n": n} for n in range(4)])
    emulator.expire(topic, between[1])
    second = run_tap(topics=[topic], state=first.states[-1])
    assert second.exit_code == 0
    assert ids(second) == between[2:]
    assert second.warnings == []


def test_a_bookmark_close_to_the_retention_is_reported(emulator, run_tap, developer):
    """If the Developer API lists the retention, a warning comes before messages are lost.

    If there is no message after the bookmark, none can be lost.
    """
    later: dict[str, list[str]] = {}
    bookmarks = {}
    for name, hours in (("orders", 7), ("returns", 100), ("quiet", 7)):
        topic = emulator.create_topic(name, retention=3_600 * hours)
        times = [ago(6 * 3_600), ago(60)][: 1 if name == "quiet" else 2]
        first, *later[name] = emulator.load(topic, [{}] * len(times), times=times)
        time = emulator.messages(topic)[0].time
        bookmarks[name] = {"replication_key_value": first, "message_time": time}
    outcome = run_tap(state={"bookmarks": bookmarks}, **developer)
    assert outcome.exit_code == 0
    assert {name: ids(outcome, name) for name in later} == later
    [line] = outcome.warnings
    assert "orders (topic 1)" in line
    assert "retention of 7 hours" in line
    assert bookmarks["orders"]["replication_key_value"] in line


def test_a_bookmark_of_another_session_of_the_emulator_has_expired(emulator, topic, run_tap):
    """It would otherwise look valid, and the run would read nothing."""
    emulator.load(topic, [{"n": n} for n in range(8)])
    state = run_tap(topics=[topic]).states[-1]
    emulator.reset()
    emulator.create_topic(id=topic)
    published = emulator.load(topic, [{"n": n} for n in range(8)])
    outcome = run_tap(topics=[topic], state=state)
    assert ids(outcome) == published
    [line] = outcome.warnings
    assert "has expired or was purged" in line
