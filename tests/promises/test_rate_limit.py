"""Topics, batches in flight and retries share one rate limiter, and a 429 pauses all of them."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.running import eventually
from tests.support.singer_lines import record, schema, state
from tests.support.tap import bookmark
from tests.support.tap_output import assert_states_are_true, ids

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator


def test_a_run_stays_below_max_requests_per_minute(emulator, start_tap):
    """Topics, long polls and retries together."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    for topic in topics:
        emulator.load(topic, [{"n": n} for n in range(20)])
    emulator.fault("status", status=503, after=2)
    tap = start_tap(topics=topics, batch_size=2, max_requests_per_minute=7)
    eventually(lambda: len(emulator.requests()) >= 7, "the limiter to be used up")
    time.sleep(1.0)
    assert len(emulator.requests()) == 7
    tap.send(signal.SIGTERM)
    ended = tap.end(within=5)
    assert ended.exit_code == 0
    assert len(ended.records()) == 12
    assert_states_are_true(ended)


@pytest.mark.parametrize("retry_after", ["seconds", "date", "none"])
def test_a_rate_limited_run_completes(emulator, run_tap, retry_after):
    """One 429 pauses all topics for as long as the service asks, and few requests are rejected."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(4)]
    published = {t: emulator.load(t, [{"n": n} for n in range(20)]) for t in topics}
    emulator.configure(quota_per_minute=7, quota_window_secs=2.0, retry_after=retry_after)
    outcome = run_tap(topics=topics, batch_size=10)
    assert outcome.exit_code == 0
    for topic, messages in published.items():
        assert ids(outcome, f"topic_{topic}") == messages
    requests = emulator.requests()
    rejected = [request for request in requests if request.status == 429]
    assert len(requests) - len(rejected) == 12
    # 12 responses at 7 per window need a pause. Requests in flight are rejected, too, and one or
    # two that are sent too early if the service names no time. On a busy machine, the window of the
    # first requests ends so gradually that there is a second pause.
    assert 1 <= len(rejected) <= 2 * (len(topics) + 2)


def test_no_request_is_sent_during_a_pause(emulator, run_tap):
    """All topics keep the pause that one of them was asked for."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(4)]
    for topic in topics:
        emulator.load(topic, [{"n": n} for n in range(60)])
    headers = {"Retry-After": "3"}
    emulator.fault("status", status=429, after=9, times=1, headers=headers)
    outcome = run_tap(topics=topics, batch_size=5)
    assert outcome.exit_code == 0
    assert len(outcome.records()) == 240
    requests = emulator.requests()
    [rejection] = [request for request in requests if request.status == 429]
    assert rejection.finished_at
    # Requests in flight when the response arrived had been sent before.
    in_flight_until = rejection.finished_at + 1.5
    paused = [r for r in requests if in_flight_until < r.at < rejection.finished_at + 3]
    assert paused == []
    assert len([r for r in requests if r.at >= rejection.finished_at + 3]) > 20


def test_a_rate_limited_topic_waits_while_other_requests_succeed(emulator, start_tap):
    """The quota is used, so this is no failure, although it takes longer than max_retry_secs."""
    busy, limited = emulator.create_topic("busy"), emulator.create_topic("limited")
    [published] = emulator.load(limited, [{"n": 1}])
    headers = {"Retry-After": "1"}
    emulator.fault("status", topic_id=limited, status=429, times=8, headers=headers)
    tap = start_tap(topics=[busy, limited], tail=True, timeout_secs=1, max_retry_secs=5)
    tap.wait_for_bookmark(f"topic_{limited}", published)
    assert tap.stderr.count("retrying in") == 8


def test_nothing_is_retried_after_the_run_has_failed(emulator, run_tap):
    """The last line is the error."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(200)]
    emulator.fault("status", topic_id=topics[0], status=401, after=1, times=-1)
    for topic in topics[1:]:
        emulator.fault("status", topic_id=topic, status=503, times=-1)
    run = run_tap(topics=topics, tail=True, timeout_secs=1, max_run_secs=20)
    assert run.exit_code == 1
    *_, last = run.stderr.splitlines()
    assert "HTTP 401" in last


@pytest.mark.parametrize("tail", [False, True])
def test_a_pause_longer_than_max_retry_secs_ends_the_run(emulator, start_tap, tail):
    """The quota is the workspace's: no topic waits silently for an hour."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    published = {topic: emulator.load(topic, [{"n": n} for n in range(30)]) for topic in topics}
    emulator.fault(
        "status", topic_id=1, status=429, after=1, times=-1, headers={"Retry-After": "3600"}
    )
    for topic in (2, 3):
        emulator.fault("latency", topic_id=topic, secs=1.0, times=-1)
    ended = start_tap(topics=topics, tail=tail, batch_size=5).end()
    assert ended.exit_code == 1
    [line] = ended.error_lines
    assert "topic_1 (topic 1)" in line
    assert "429" in line
    assert_states_are_true(ended)
    for topic, messages in published.items():
        read = ids(ended, f"topic_{topic}")
        assert len(read) < len(messages)
        assert read == messages[: len(read)]
        if read:
            assert bookmark(ended.states[-1], f"topic_{topic}") == read[-1]
    assert len(ids(ended, "topic_1")) == 5


STREAMS = ("a", "b", "c")


@pytest.fixture
def topics(emulator: Emulator) -> dict[str, int]:
    """A topic for each stream."""
    return {stream: emulator.create_topic(stream) for stream in STREAMS}


def fed(count: int) -> list[bytes]:
    """So many records of each stream in turn, and a state."""
    records = [record(stream, id=number) for number in range(count) for stream in STREAMS]
    return [*map(schema, STREAMS), *records, state("all")]


def test_requests_stay_within_max_requests_per_minute(emulator, topics, start_target):
    """Topics, batches in flight and retries together send what the setting allows, and wait."""
    emulator.fault("status", status=503, after=2)
    target = start_target(
        topics=topics, batch_size_rows=1, max_in_flight=2, max_requests_per_minute=7
    )
    target.feed(*fed(10))
    eventually(lambda: len(emulator.requests()) >= 7, "the limiter to be used up")
    time.sleep(1.0)
    assert len(emulator.requests()) == 7
    assert sum(len(emulator.payloads(topic)) for topic in topics.values()) == 6


def test_no_request_is_sent_while_the_service_asks_to_wait(emulator, topics, run_target):
    """All topics observe the pause that one of them was asked for."""
    emulator.configure(latency_secs=0.05)
    emulator.fault("status", status=429, after=9, headers={"Retry-After": "3"})
    done = run_target(*fed(20), topics=topics, batch_size_rows=1)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    assert [len(emulator.payloads(topic)) for topic in topics.values()] == [20, 20, 20]
    requests = emulator.requests()
    (first,) = [request for request in requests if request.status == 429]
    assert first.finished_at is not None
    # Requests that were in flight when the response arrived had been sent before.
    in_flight = first.finished_at + 1.5
    assert not [r for r in requests if in_flight < r.at < first.finished_at + 3]
    assert [r for r in requests if r.at >= first.finished_at + 3]


@pytest.mark.parametrize("retry_after", ["seconds", "date", "none"])
def test_a_run_over_quota_completes_without_a_storm(emulator, topics, run_target, retry_after):
    """One 429 pauses all topics: few follow, and nothing is lost, duplicated or reordered."""
    emulator.configure(quota_per_minute=7, quota_window_secs=2.0, retry_after=retry_after)
    done = run_target(*fed(4), topics=topics, batch_size_rows=1)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    for topic in topics.values():
        assert [payload["id"] for payload in emulator.payloads(topic)] == list(range(4))
    throttled = [request for request in emulator.requests() if request.status == 429]
    # 12 requests at 7 per window need a pause, on a busy machine two; each is hit by the requests
    # in flight, and by one or two that are sent too early if the service names no time.
    assert 1 <= len(throttled) <= 2 * (len(topics) + 2)
