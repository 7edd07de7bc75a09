"""SIGTERM and SIGINT end a run soon, with its records written and its state told."""

from __future__ import annotations

import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.executables import Outcome
from tests.running import eventually
from tests.tap.polls import await_polls
from tests.tap.running import END_SECS, bookmark, start_with_pipe
from tests.tap.singer import assert_states_are_true, ids

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
    from tests.tap.conftest import StartTap, TapConfig


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_long_poll_ends_the_run_with_its_state(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """The records are written, the last STATE is told, and the exit code is 0."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    published = [emulator.load(topic, [{"n": n} for n in range(60)]) for topic in topics]
    tail = start_tap(topics=topics, tail=True, state_interval_secs=600)
    tail.wait_for_records(180)
    await_polls(emulator, 3)
    tail.send(signum)
    ended = tail.end(within=END_SECS)
    assert ended.exit_code == 0
    assert ended.error_lines == []
    assert "Traceback" not in ended.stderr
    for topic, messages in zip(topics, published, strict=True):
        assert ids(ended, f"topic_{topic}") == messages
        assert bookmark(ended.states[-1], f"topic_{topic}") == messages[-1]
    assert ended.messages[-1]["type"] == "STATE"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_reading_keeps_what_was_written_and_told_equal(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """Without tail too: the last STATE is the last record, and the next run has the rest."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(300)])
    emulator.configure(latency_secs=0.05)
    first = start_tap(topics=[topic], batch_size=3, state_interval_secs=600)
    first.wait_for_records(20)
    first.send(signum)
    ended = first.end(within=END_SECS)
    assert ended.exit_code == 0
    read = ids(ended)
    assert 20 <= len(read) < 300
    assert read == published[: len(read)]
    assert bookmark(ended.states[-1], "topic_1") == read[-1]
    emulator.configure(latency_secs=0.0)
    second = start_tap(topics=[topic], state=ended.states[-1]).end()
    assert ids(second) == published[len(read) :]


def test_a_signal_while_requests_wait_for_their_turn_ends_the_run(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """Neither a pause that the service asked for nor a retry holds up the end."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    published = emulator.load(topics[0], [{"n": 1}])
    emulator.fault("status", status=429, headers={"Retry-After": "60"}, after=4, times=-1)
    tail = start_tap(topics=topics, tail=True, timeout_secs=1)
    tail.wait_for_records(1)
    tail.wait_for(lambda run: "429" in run.stderr, "a warning of the pause")
    tail.send(signal.SIGTERM)
    ended = tail.end(within=END_SECS)
    assert ended.exit_code == 0
    assert bookmark(ended.states[-1], "topic_1") == published[0]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_signal_while_the_output_is_full_keeps_every_line_whole_and_writes_what_is_held(
    emulator: Emulator, tap_config: TapConfig, unbuffered: str
) -> None:
    """The line in the middle of which it falls is finished, and the other topic's page written."""
    for topic in (1, 2):
        emulator.create_topic(f"topic {topic}", id=topic)
        emulator.load(topic, [{"text": "x" * 10_000} for _ in range(200)])
    config = tap_config(topics=[1, 2], tail=True, state_interval_secs=600)
    process = start_with_pipe(config, PYTHONUNBUFFERED=unbuffered)
    # Of each topic one page is written or held, and another waits for its place.
    eventually(lambda: len(emulator.requests()) == 4, "four requests")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    stdout, stderr = process.communicate(timeout=END_SECS)
    ended = Outcome(process.returncode, stdout, stderr.decode())
    assert ended.exit_code == 0
    assert ended.error_lines == []
    assert_states_are_true(ended)
    for topic in (1, 2):
        published = [message.message_id for message in emulator.messages(topic)]
        read = ids(ended, f"topic_{topic}")
        assert len(read) in {50, 100}
        assert read == published[: len(read)]
        assert bookmark(ended.states[-1], f"topic_{topic}") == read[-1]


def test_a_second_signal_ends_the_process_at_once(
    emulator: Emulator, tap_config: TapConfig
) -> None:
    """While the reader of stdout holds it up, the first signal waits, and the second does not."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"text": "x" * 10_000} for _ in range(200)])
    process = start_with_pipe(tap_config(topics=[topic], tail=True))
    # One page is stuck in the pipe, the next one waits behind it.
    eventually(lambda: len(emulator.requests()) == 2, "two requests")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_SECS) == -signal.SIGTERM
    process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_reading_has_begun_ends_the_process(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """While the Developer API is waited for there is nothing to tell: no error, no traceback."""
    emulator.fault("stall", operation="topics", secs=30, times=-1)
    token = emulator.developer_token
    tap = start_tap(developer_api_url=emulator.url, developer_api_token=token)
    eventually(lambda: emulator.requests(operation="topics"), "a request for topics")
    tap.send(signum)
    ended = tap.end(within=END_SECS)
    assert ended.exit_code == 0
    assert ended.stdout == b""
    assert "Traceback" not in ended.stderr
    assert ended.error_lines == []
