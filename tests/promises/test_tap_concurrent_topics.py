"""Topics are read concurrently: order is kept in each topic, and every STATE is true."""

import subprocess
import time

import pytest
from workato_streams_emulator import Emulator, LoggedRequest

from tests.support.executables import TIMEOUT_SECS, command, environment
from tests.support.running import eventually
from tests.support.tap import END_SECS, bookmark, read_slowly
from tests.support.tap_output import assert_states_are_true, ids

TOPICS = 12


@pytest.fixture
def published(emulator: Emulator) -> dict[int, list[str]]:
    """Topics of different lengths, one of them empty."""
    loaded = {}
    for topic in range(1, TOPICS + 1):
        emulator.create_topic(f"topic {topic}", id=topic)
        loaded[topic] = emulator.load(topic, [{"text": "x" * 500}] * (7 * (topic - 1)))
    return loaded


def most_at_a_time(requests: list[LoggedRequest]) -> int:
    begun = [(request.at, 1) for request in requests]
    ended = [(request.finished_at or 0.0, -1) for request in requests]
    open_now = most = 0
    for _, change in sorted(begun + ended):
        open_now += change
        most = max(most, open_now)
    return most


@pytest.mark.parametrize("workers", [1, 3, 50])
def test_every_topic_is_read_in_order_whatever_the_number_of_workers(published, run_tap, workers):
    """Lines never interleave, and each STATE line covers exactly the records before it."""
    outcome = run_tap(
        topics=list(published), batch_size=5, max_parallel_topics=workers, state_interval_secs=0.001
    )
    assert outcome.exit_code == 0
    # Every line is one Singer message: `messages` has decoded each of them.
    kinds = [message["type"] for message in outcome.messages if message["type"] != "STATE"]
    records = sum(map(len, published.values()))
    assert kinds == [*["SCHEMA"] * TOPICS, *["RECORD"] * records]
    for topic, messages in published.items():
        assert ids(outcome, f"topic_{topic}") == messages
        if messages:
            assert bookmark(outcome.states[-1], f"topic_{topic}") == messages[-1]
    assert_states_are_true(outcome)
    assert len(outcome.states) > 3


def test_max_parallel_topics_is_the_number_of_concurrent_topics(emulator, published, run_tap):
    """All of the workers are used; the pages of one topic are requested one after another."""
    emulator.configure(latency_secs=0.05)
    outcome = run_tap(topics=list(published), batch_size=10, max_parallel_topics=3)
    assert len(outcome.records()) == sum(map(len, published.values()))
    assert most_at_a_time(emulator.requests()) == 3
    for topic in published:
        assert most_at_a_time(emulator.requests(topic_id=topic)) == 1


def test_a_state_is_emitted_only_if_it_has_changed(emulator, published, run_tap):
    emulator.configure(latency_secs=0.02)
    states = run_tap(topics=list(published), batch_size=10, state_interval_secs=0.001).states
    assert len(states) > 3
    assert all(states[n] != states[n + 1] for n in range(len(states) - 1))


def test_a_slow_loader_delays_neither_states_nor_the_end(emulator, start_with_pipe):
    """The worker that writes emits the state when it is due, and `max_run_secs` holds."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(20)]
    for topic in topics:
        emulator.load(topic, [{"text": "x" * 500} for _ in range(2_000)])
    process = start_with_pipe(
        topics=topics, max_parallel_topics=20, max_run_secs=3, state_interval_secs=0.5
    )
    eventually(emulator.requests, "the start of the run")
    began = time.monotonic()
    outcome = read_slowly(process, chunk_bytes=65_536, rest_secs=0.02)
    secs = time.monotonic() - began
    assert outcome.exit_code == 0, outcome.stderr
    assert secs < 3 + END_SECS
    # Five or six are due, fewer on a busy machine, and one is emitted at the end.
    assert len(outcome.states) >= 3
    assert len(outcome.records()) < 20 * 2_000
    assert_states_are_true(outcome)


def test_the_connections_of_topics_that_have_ended_are_closed(emulator, tap_config):
    """400 topics need no more file descriptors than the topics that are read concurrently."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(400)]
    line = " ".join(command("tap-workato-streams", "--config", tap_config(topics=topics)))
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -n 64; exec {line}"],
        capture_output=True,
        timeout=TIMEOUT_SECS,
        check=False,
        env=environment(),
    )
    assert done.returncode == 0, done.stderr[-2_000:].decode()
    assert done.stderr.count(b"0 messages, 1 request") == 400
