"""All topics, batches in flight and retries share one quota, and a 429 pauses all of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.running import eventually
from tests.target.singer import record, schema, state

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget, StartTarget

STREAMS = ("a", "b", "c")


@pytest.fixture
def topics(emulator: Emulator) -> dict[str, int]:
    """A topic for each stream."""
    return {stream: emulator.create_topic(stream) for stream in STREAMS}


def fed(count: int) -> list[bytes]:
    """So many records of each stream in turn, and a state."""
    records = [record(stream, id=number) for number in range(count) for stream in STREAMS]
    return [*map(schema, STREAMS), *records, state("all")]


def test_requests_stay_within_max_requests_per_minute(
    emulator: Emulator, topics: dict[str, int], start_target: StartTarget
) -> None:
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


def test_no_request_is_sent_while_the_service_asks_to_wait(
    emulator: Emulator, topics: dict[str, int], run_target: RunTarget
) -> None:
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
def test_a_run_over_quota_completes_without_a_storm(
    emulator: Emulator, topics: dict[str, int], run_target: RunTarget, retry_after: str
) -> None:
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
