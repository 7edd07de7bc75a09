"""Topics, batches in flight and retries share one rate limiter, and a 429 pauses all of them."""

import subprocess
from dataclasses import replace

import pytest
from workato_streams_emulator import Emulator

from tests.support.connector import Connector
from tests.support.executables import Outcome, environment
from tests.support.injection import injected
from tests.support.running import eventually, killed_at_end, never
from tests.support.singer_lines import lines, record, schema, state
from tests.support.tap import bookmark
from tests.support.tap_output import assert_states_are_true, ids

COUNT = 20
STREAMS = [f"orders{topic}" for topic in (1, 2, 3, 4)]
# Of these settings, each connector ignores the other's.
ONE_BY_ONE = {"batch_size": 1, "batch_size_rows": 1}
THREE_REQUESTS = {"batch_size": 10, "batch_size_rows": 7}
RECORDS = [record(stream, id=number) for number in range(COUNT) for stream in STREAMS]


@pytest.fixture
def busy(connector: Connector, emulator: Emulator) -> Connector:
    """A connector that reads `COUNT` messages from each of several topics, or publishes them."""
    for topic, stream in enumerate(STREAMS, start=1):
        emulator.create_topic(stream, id=topic)
    connector = connector.with_topics(len(STREAMS))
    if connector.input:
        return replace(connector, input=lines(*map(schema, STREAMS), *RECORDS, state("all")))
    for topic in range(1, len(STREAMS) + 1):
        emulator.load(topic, [{"id": number} for number in range(COUNT)])
    return connector


def assert_complete(connector: Connector, emulator: Emulator, outcome: Outcome) -> None:
    """Nothing is lost, duplicated or reordered."""
    assert outcome.exit_code == 0, outcome.stderr
    for topic, stream in enumerate(STREAMS, start=1):
        if connector.input:
            payloads = emulator.payloads(topic)
        else:
            payloads = [each["payload"] for each in outcome.records(stream)]
        assert [payload["id"] for payload in payloads] == list(range(COUNT))


def finished_statuses(emulator: Emulator) -> list[int]:
    """The statuses of all responses so far, the lowest first."""
    return sorted(request.status for request in emulator.requests() if request.status)


def test_requests_stay_within_max_requests_per_minute(busy, emulator):
    """Topics, batches in flight and retries together send what the setting allows, and wait."""
    emulator.fault("status", status=503, after=2)
    settings = {"api_token": emulator.token, "max_requests_per_minute": 7, "max_in_flight": 2}
    process = subprocess.Popen(
        busy.command(emulator.url, **settings, **ONE_BY_ONE),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
        bufsize=0,
    )
    with killed_at_end(process):
        assert process.stdin
        process.stdin.write(busy.input)
        eventually(lambda: len(finished_statuses(emulator)) >= 7, "the limiter to be used up")
        never(lambda: finished_statuses(emulator) != [*[200] * 6, 503], "another request")


@pytest.mark.parametrize("retry_after", ["date", "none"])
def test_a_run_over_quota_completes_without_a_storm(busy, emulator, retry_after):
    """One 429 pauses all topics: few follow, and nothing is lost, duplicated or reordered."""
    emulator.configure(quota_per_minute=7, quota_window_secs=2.0, retry_after=retry_after)
    outcome = busy.run(emulator.url, api_token=emulator.token, **THREE_REQUESTS)
    assert_complete(busy, emulator, outcome)
    throttled = [request for request in emulator.requests() if request.status == 429]
    # 12 requests at 7 per window need a pause, on a busy machine two; each is hit by the
    # requests in flight, and by one or two that are sent too early if the service names no time.
    assert 1 <= len(throttled) <= 2 * (len(STREAMS) + 2)


def test_no_request_is_sent_while_the_service_asks_to_wait(busy, emulator):
    emulator.configure(latency_secs=0.05)
    emulator.fault("status", status=429, after=9, headers={"Retry-After": "3"})
    outcome = busy.run(emulator.url, api_token=emulator.token, **ONE_BY_ONE)
    assert_complete(busy, emulator, outcome)
    requests = emulator.requests()
    [first] = [request for request in requests if request.status == 429]
    assert first.finished_at
    # Requests that were in flight when the response arrived had been sent before.
    in_flight = first.finished_at + 1.5
    assert not [r for r in requests if in_flight < r.at < first.finished_at + 3]
    assert len([r for r in requests if r.at >= first.finished_at + 3]) > 20


# Waits that are longer than the service asks for would make the test longer.
SHORT_WAITS = """
    from tap_workato_streams.event_streams import session
    session.LONGEST_WAIT_SECS = 0.5
"""


def test_a_rate_limited_topic_waits_while_other_requests_succeed(emulator, start_tap, tmp_path):
    """The quota is used, so this is no failure, although it takes longer than max_retry_secs."""
    busy, limited = emulator.create_topic("busy"), emulator.create_topic("limited")
    emulator.load(busy, [{}] * 200)
    emulator.fault("latency", topic_id=busy, secs=0.05, times=-1)
    [published] = emulator.load(limited, [{"n": 1}])
    throttled = {"status": 429, "headers": {"Retry-After": "1"}}
    emulator.fault("status", topic_id=limited, times=5, **throttled)
    settings = {"tail": True, "batch_size": 1, "max_retry_secs": 4, "state_interval_secs": 0.1}
    env = injected(tmp_path / "site", SHORT_WAITS)
    tap = start_tap(topics=[busy, limited], env=env, **settings)
    tap.wait_for_bookmark(f"topic_{limited}", published)
    assert tap.stderr.count("retrying in") == 5


def test_nothing_is_retried_after_the_run_has_failed(emulator, run_tap):
    topics = [emulator.create_topic(f"topic {n}") for n in range(200)]
    emulator.fault("status", topic_id=topics[0], status=401, after=1, times=-1)
    for topic in topics[1:]:
        emulator.fault("status", topic_id=topic, status=503, times=-1)
    run = run_tap(topics=topics, tail=True, timeout_secs=1, max_run_secs=20)
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "HTTP 401" in line
    assert line == run.stderr.splitlines()[-1]


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
    assert "HTTP 429" in line
    assert_states_are_true(ended)
    for topic, messages in published.items():
        read = ids(ended, f"topic_{topic}")
        assert len(read) < len(messages)
        assert read == messages[: len(read)]
        if read:
            assert bookmark(ended.states[-1], f"topic_{topic}") == read[-1]
    assert len(ids(ended, "topic_1")) == 5
