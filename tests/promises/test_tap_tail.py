"""Tail mode: topics are read as they grow, with one long poll at a time each."""

import signal
import socket
from itertools import pairwise
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.injection import injected
from tests.support.raw_service import RawService, http_response
from tests.support.running import eventually, never
from tests.support.tap import RunningTap, bookmark, discover
from tests.support.tap_output import assert_states_are_true, await_polls, consumed, ids, polling


def test_a_message_is_emitted_when_it_arrives(emulator, topic, start_tap):
    """It ends the long poll; an idle topic costs only that one."""
    # No STATE line helps a record out of a buffer.
    tail = start_tap(topics=[topic], tail=True, state_interval_secs=600)
    published = []
    for n in range(3):
        await_polls(emulator)
        published += emulator.load(topic, [{"n": n}])
        tail.wait_for_records(n + 1)
    await_polls(emulator)
    assert ids(tail.so_far) == published
    assert consumed(emulator) == [
        {"batch_size": 50, "timeout_secs": 45},
        *({"batch_size": 50, "timeout_secs": 45, "after_message_id": id_} for id_ in published),
    ]


@pytest.mark.parametrize("response", [b"", http_response(b"", status="504 Gateway Timeout")])
@pytest.mark.parametrize("timeout_secs", [0, 45])
def test_a_long_poll_that_a_gateway_ends_names_timeout_secs(connector, response, timeout_secs):
    """A request without a long poll does not."""

    def respond(connection: socket.socket, _number: int) -> None:
        connection.sendall(response)
        connection.close()

    with RawService(respond) as service:
        outcome = connector.run(service.url, timeout_secs=timeout_secs, max_retry_secs=0)
    [line] = outcome.error_lines
    polls = timeout_secs > 0 and connector.name == "tap-workato-streams"
    assert ("if a gateway ends long polls, set timeout_secs below its timeout" in line) == polls


def test_a_state_is_emitted_within_its_interval_while_idle(emulator, topic, start_tap):
    """A changed state is emitted without a further message, and only once."""
    tail = start_tap(topics=[topic], tail=True, state_interval_secs=0.2)
    for n in range(2):
        await_polls(emulator)
        [message_id] = emulator.load(topic, [{"n": n}])
        tail.wait_for_bookmark("topic_1", message_id)

    def states() -> list[dict[str, Any]]:
        return [state for state in tail.so_far.states if bookmark(state, "topic_1")]

    never(lambda: len(states()) > 2, "a state that has not changed")
    assert states()[0] != states()[1]
    assert_states_are_true(tail.so_far)


def test_all_topics_are_polled_concurrently(emulator, start_tap):
    """Each has one request, since `max_parallel_topics` does not apply in tail mode."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(12)]
    tail = start_tap(topics=topics, tail=True, max_parallel_topics=2)
    await_polls(emulator, 12)
    assert sorted(request.topic_id or 0 for request in polling(emulator)) == topics
    published = {topic: emulator.load(topic, [{"of": topic}])[0] for topic in topics}
    tail.wait_for_records(12)
    await_polls(emulator, 12)
    for topic, message_id in published.items():
        assert ids(tail.so_far, f"topic_{topic}") == [message_id]
        asked = emulator.requests(operation="consume", topic_id=topic)
        assert len(asked) == 2
        assert asked[0].finished_at is not None
        assert asked[0].finished_at <= asked[1].at


def test_the_request_timeout_comes_on_top_of_the_long_poll(emulator, topic, start_tap):
    tail = start_tap(topics=[topic], tail=True, timeout_secs=3, request_timeout_secs=2)
    eventually(lambda: len(emulator.requests()) == 2, "a second poll")
    assert [request.status for request in emulator.requests()] == [200, None]
    assert "WARNING" not in tail.stderr


@pytest.mark.parametrize("status", [404, 403])
def test_a_failing_topic_does_not_end_tail_mode(emulator, start_tap, status):
    """A topic that was deleted is an error, now and at the end; the others go on."""
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    published = emulator.load(good, [{"n": n} for n in range(5)])
    emulator.fault("status", status=status, topic_id=bad, times=-1)
    tail = start_tap(topics=[bad, good], tail=True, timeout_secs=1, state_interval_secs=600)
    tail.wait_for(lambda run: run.error_lines, "an error")
    published += emulator.load(good, [{"n": 6}])
    tail.wait_for_records(6)
    tail.send(signal.SIGTERM)
    ended = tail.end()
    assert ended.exit_code == 1
    assert ids(ended, f"topic_{good}") == published
    assert bookmark(ended.states[-1], f"topic_{good}") == published[-1]
    first, last = ended.error_lines
    for line in (first, last):
        assert f"topic_{bad} (topic {bad}): HTTP {status}" in line
    assert "; the topic is tried again within 10 min" in first


# They would otherwise be ten minutes, and one.
SHORT_PAUSE = """
    from tap_workato_streams import sync
    sync.FAILED_TOPIC_SECS = 0.2
    sync.UNAVAILABLE_TOPIC_SECS = 3.0
"""


def test_a_topic_that_has_failed_is_tried_again(emulator, run_tap, tmp_path):
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    published = [*emulator.load(good, [{"n": 1}]), *emulator.load(bad, [{"n": 2}])]
    emulator.fault("status", status=403, topic_id=bad, times=3)
    settings = {"topics": [good, bad], "tail": True, "timeout_secs": 1, "max_messages": 2}
    run = run_tap(env=injected(tmp_path / "site", SHORT_PAUSE), **settings)
    assert set(ids(run)) == set(published)
    assert len(run.error_lines) == 3
    assert all("topic_2 (topic 2): HTTP 403" in error for error in run.error_lines)


def test_a_topic_that_has_failed_goes_on_after_its_last_message(emulator, run_tap, tmp_path):
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    published = emulator.load(bad, [{"n": n} for n in range(120)])
    emulator.fault("status", status=403, topic_id=bad, after=2, times=1)
    settings = {"topics": [good, bad], "tail": True, "timeout_secs": 1, "max_messages": 120}
    run = run_tap(env=injected(tmp_path / "site", SHORT_PAUSE), **settings)
    assert ids(run) == published


LOGIN_PAGE: dict[str, Any] = {"kind": "status", "status": 200, "body": "<html>Sign in</html>"}


def test_a_login_page_for_some_seconds_does_not_end_tail_mode(emulator, start_tap, tmp_path):
    """Topics that gave up on it are tried again after a minute; each has one error."""
    topics = [emulator.create_topic("one"), emulator.create_topic("other")]
    published = emulator.load(1, [{"n": 1}])
    env = injected(tmp_path / "site", SHORT_PAUSE)
    tail = start_tap(topics=topics, tail=True, timeout_secs=1, env=env)
    tail.wait_for_records(1)
    emulator.fault(times=-1, **LOGIN_PAGE)
    tail.wait_for(
        lambda run: run.stderr.count("gave up after 5 attempts") >= 4, "two failures each"
    )
    assert len(tail.so_far.error_lines) == 2
    emulator.clear_faults()
    published += emulator.load(1, [{"n": 2}])
    tail.wait_for_records(2)
    tail.send(signal.SIGTERM)
    ended = tail.end()
    assert ids(ended) == published
    assert all("the topic is tried again within 3 s" in line for line in ended.error_lines[:2])


def test_a_topic_that_gave_up_is_tried_again_when_another_one_succeeds(emulator, start_tap):
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    emulator.fault(topic_id=bad, times=5, **LOGIN_PAGE)
    tail = start_tap(topics=[good, bad], tail=True, timeout_secs=2)
    published = emulator.load(bad, [{"n": 1}])
    tail.wait_for(lambda run: run.error_lines, "the topic to give up")
    tail.wait_for_records(1)
    assert ids(tail.so_far) == published
    [line] = tail.so_far.error_lines
    assert "gave up after 5 attempts; the topic is tried again within 60 s" in line


@pytest.mark.parametrize("fault", [{"kind": "status", "status": 503}, LOGIN_PAGE], ids=str)
def test_a_service_that_stays_down_ends_tail_mode(emulator, start_tap, fault):
    """Once nothing has succeeded for `max_retry_secs`, which is less than five attempts take."""
    topics = [emulator.create_topic("one"), emulator.create_topic("other")]
    tail = start_tap(topics=topics, tail=True, timeout_secs=1, max_retry_secs=1)
    await_polls(emulator, 2)
    emulator.fault(times=-1, **fault)
    ended = tail.end()
    assert ended.exit_code == 1
    assert "gave up after" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    "fault", [{"topic_id": 1, "status": 401}, {"status": 404}], ids=["token", "all topics"]
)
def test_what_fails_for_every_topic_ends_tail_mode(emulator, start_tap, fault):
    for topic in (1, 2):
        emulator.create_topic(f"topic {topic}", id=topic)
    published = emulator.load(2, [{"n": n} for n in range(5)])
    emulator.fault("status", **fault, after=2, times=-1)
    ended = start_tap(topics=[1, 2], tail=True, timeout_secs=1).end()
    assert ended.exit_code == 1
    assert f"HTTP {fault['status']}" in ended.error_lines[-1]
    assert bookmark(ended.states[-1], "topic_2") == published[-1]


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "reset"},
        {"kind": "status", "status": 200, "body": "<html>Sign in</html>"},
    ],
    ids=["503", "reset", "html"],
)
def test_a_topic_that_fails_temporarily_does_not_delay_the_others(emulator, start_tap, fault):
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    emulator.fault(topic_id=bad, times=-1, **fault)
    tail = start_tap(topics=[good, bad], tail=True)
    tail.wait_for(lambda run: "retrying in" in run.stderr, "a retry")
    published = emulator.load(good, [{"n": n} for n in range(3)])
    late = emulator.load(bad, [{"late": True}])
    tail.wait_for_records(3)
    assert ids(tail.so_far) == published
    emulator.clear_faults()
    tail.wait_for_records(4)
    assert ids(tail.so_far, f"topic_{bad}") == late


def test_long_polls_that_do_not_wait_are_not_repeated_at_once(emulator, topic, start_tap):
    """An idle topic is requested at most once per second."""
    emulator.fault("status", status=200, body={"messages": []}, times=-1)
    start_tap(topics=[topic], tail=True)
    eventually(lambda: len(emulator.requests()) >= 3, "some polls")
    asked_at = [request.at for request in emulator.requests()]
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]
    # On a busy machine, a request may be late, and the next one is not.
    assert min(gaps) >= 0.5


def outage(emulator: Emulator, tail: RunningTap, topic: int) -> list[str]:
    """Let a topic fail until the tap gives up; return the ids of what was published by then."""
    emulator.fault("status", status=503, topic_id=topic, times=-1)
    tail.wait_for(lambda run: "gave up after" in run.stderr, "the topic to give up")
    published = emulator.load(topic, [{"late": True}])
    emulator.clear_faults()
    return published


def test_a_topic_whose_bookmark_has_expired_is_read_after_an_outage(emulator, start_tap, tmp_path):
    """The bookmark has not moved, so it is found to have expired once more."""
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    [message_id] = emulator.load(bad, [{}])
    emulator.purge(bad)
    settings = {"topics": [good, bad], "tail": True, "timeout_secs": 1, "max_retry_secs": 1}
    state = {"bookmarks": {"topic_2": {"replication_key_value": message_id}}}
    tail = start_tap(state=state, env=injected(tmp_path / "site", SHORT_PAUSE), **settings)
    tail.wait_for(lambda run: "has expired" in run.stderr, "the warning")
    published = outage(emulator, tail, bad)
    tail.wait_for_records(1)
    assert ids(tail.so_far) == published


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
def test_a_full_table_goes_on_after_an_outage(emulator, run_tap, start_tap, tmp_path, start_from):
    """It neither begins again nor skips what was published during the outage."""
    good, topic = emulator.create_topic("good"), emulator.create_topic("bad")
    published = emulator.load(topic, [{}])
    settings = {"topics": [good, topic], "start_from": start_from}
    catalog = discover(run_tap, **settings)
    for stream in catalog["streams"]:
        stream["replication_method"] = "FULL_TABLE"
    settings |= {"tail": True, "timeout_secs": 1, "max_retry_secs": 1}
    env = injected(tmp_path / "site", SHORT_PAUSE)
    tail = start_tap(catalog=catalog, env=env, **settings)
    await_polls(emulator, 2)
    published += outage(emulator, tail, topic)
    tail.wait_for(lambda run: published[-1] in ids(run), "the message of the outage")
    assert ids(tail.so_far) == published[start_from == "latest" :]
