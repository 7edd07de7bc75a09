"""One limiter: all topics, batches in flight and retries share it, and a 429 pauses all of them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.running import eventually
from tests.target.singer import record, schema, state

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
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


def test_no_request_is_over_the_budget_in_a_run(
    emulator: Emulator, topics: dict[str, int], start_target: StartTarget
) -> None:
    """Topics, batches in flight and retries together send what the setting allows, and wait."""
    emulator.fault("status", status=503, after=2)
    target = start_target(
        topics=topics, batch_size_rows=1, max_in_flight=2, max_requests_per_minute=7
    )
    target.feed(*fed(10))
    eventually(lambda: len(emulator.requests()) >= 7, "the limiter to be used up")
    time.sleep(1.5)
    assert len(emulator.requests()) == 7
    assert sum(len(emulator.payloads(topic)) for topic in topics.values()) == 6


def test_no_request_goes_out_while_the_service_asked_to_wait(
    emulator: Emulator, topics: dict[str, int], run_target: RunTarget
) -> None:
    """All topics keep the pause that one of them was told of."""
    emulator.configure(latency_secs=0.05)
    emulator.fault("status", status=429, after=9, headers={"Retry-After": "2"})
    done = run_target(*fed(20), topics=topics, batch_size_rows=1)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    assert [len(emulator.payloads(topic)) for topic in topics.values()] == [20, 20, 20]
    requests = emulator.requests()
    (refusal,) = [request for request in requests if request.status == 429]
    assert refusal.finished_at is not None
    # Those that were on their way when the answer came had left before anyone knew of it.
    on_the_way = refusal.finished_at + 0.5
    assert not [r for r in requests if on_the_way < r.at < refusal.finished_at + 2]
    assert [r for r in requests if r.at >= refusal.finished_at + 2]


@pytest.mark.parametrize("retry_after", ["seconds", "date", "none"])
def test_a_run_over_quota_completes_without_a_storm(
    emulator: Emulator, topics: dict[str, int], run_target: RunTarget, retry_after: str
) -> None:
    """One refusal pauses all topics: few are refused, and nothing is lost, doubled or reordered."""
    emulator.configure(quota_per_minute=7, quota_window_secs=1.0, retry_after=retry_after)
    done = run_target(*fed(5), topics=topics, batch_size_rows=1)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    for topic in topics.values():
        assert [payload["id"] for payload in emulator.payloads(topic)] == list(range(5))
    refusals = [request for request in emulator.requests() if request.status == 429]
    # 15 answers at 7 a window need two pauses, each met by those who were under way.
    assert 1 <= len(refusals) <= 2 * (len(topics) + 2)
