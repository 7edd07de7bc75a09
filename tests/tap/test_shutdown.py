"""SIGTERM and SIGINT end a run soon; its records are written, and its state covers them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest

from tests.executables import Outcome, environment
from tests.running import eventually, insist
from tests.tap.polls import await_polls
from tests.tap.running import END_SECS, bookmark, read_slowly, start_with_pipe
from tests.tap.singer import assert_states_are_true, ids

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.tap.conftest import StartTap, TapConfig

# The promise is five seconds, and this machine may be busy.
WITHOUT_LOADER_SECS = 10.0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_long_poll_ends_the_run_with_its_state(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """Records are written, the last STATE is emitted, and the exit code is 0."""
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
def test_after_a_signal_the_state_covers_exactly_what_was_written(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """The last STATE is the last record's, and the next run reads the rest."""
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


def test_a_signal_during_a_pause_ends_the_run(emulator: Emulator, start_tap: StartTap) -> None:
    """Neither a pause nor a retry delays the end."""
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
def test_a_signal_while_stdout_blocks_truncates_no_line(
    emulator: Emulator, tap_config: TapConfig, unbuffered: str
) -> None:
    """The page that is being written is completed, and the state covers it; no other follows."""
    for topic in (1, 2):
        emulator.create_topic(f"topic {topic}", id=topic)
        emulator.load(topic, [{"text": "x" * 10_000} for _ in range(200)])
    config = tap_config(topics=[1, 2], tail=True, state_interval_secs=600)
    process = start_with_pipe(config, PYTHONUNBUFFERED=unbuffered)
    # The page of one topic is stuck in the pipe, the other one's waits behind it.
    eventually(lambda: len(emulator.requests()) == 2, "two requests")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    stdout, stderr = process.communicate(timeout=END_SECS)
    ended = Outcome(process.returncode, stdout, stderr.decode())
    assert ended.exit_code == 0
    assert ended.error_lines == []
    assert_states_are_true(ended)
    published = {t: [m.message_id for m in emulator.messages(t)][:50] for t in (1, 2)}
    [topic] = {record["topic_id"] for record in ended.records()}
    assert ids(ended) == published[topic]
    assert bookmark(ended.states[-1], f"topic_{topic}") == published[topic][-1]
    assert bookmark(ended.states[-1], f"topic_{3 - topic}") is None


def test_a_second_signal_ends_the_process_at_once(
    emulator: Emulator, tap_config: TapConfig
) -> None:
    """While stdout blocks, the first signal waits, and the second does not."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"text": "x" * 10_000} for _ in range(200)])
    process = start_with_pipe(tap_config(topics=[topic], tail=True))
    eventually(lambda: len(emulator.requests()) == 1, "a request, whose page gets stuck")
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    insist(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_discovery_ends_the_process(
    emulator: Emulator, start_tap: StartTap, signum: signal.Signals
) -> None:
    """There is no state yet, so it does not look like success; no error, and no traceback."""
    emulator.fault("stall", operation="topics", secs=30, times=-1)
    token = emulator.developer_token
    tap = start_tap(developer_api_url=emulator.url, developer_api_token=token)
    eventually(lambda: emulator.requests(operation="topics"), "a request for topics")
    tap.send(signum)
    ended = tap.end(within=END_SECS)
    assert ended.exit_code == -signum
    assert "stopped before the first message was read; run again" in ended.stderr
    assert ended.stdout == b""
    assert "Traceback" not in ended.stderr
    assert ended.error_lines == []


def assert_ended_without_the_loader(process: subprocess.Popen[bytes], topic: int) -> None:
    """The tap has ended with one line, and its last STATE covers only what it wrote."""
    assert process.stdout
    assert process.stderr
    assert process.wait(WITHOUT_LOADER_SECS) == 1
    # The last line may be truncated: nobody read it.
    lines = process.stdout.read().splitlines()[:-1]
    stderr = process.stderr.read().decode()
    written = Outcome(1, b"\n".join(lines), stderr)
    [error] = written.error_lines
    assert "cannot write to stdout (the loader has stopped reading)" in error
    assert "Traceback" not in stderr
    assert "Fatal" not in stderr
    assert_states_are_true(written)
    assert 0 < len(ids(written, f"topic_{topic}")) < 500
    process.stdout.close()
    process.stderr.close()


@pytest.fixture
def large_topic(emulator: Emulator) -> int:
    """A topic with more than a pipe holds."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"text": "x" * 5_000} for _ in range(500)])
    return topic


@pytest.mark.parametrize("tail", [False, True])
def test_a_signal_ends_a_run_whose_loader_has_stopped_reading(
    emulator: Emulator, tap_config: TapConfig, large_topic: int, *, tail: bool
) -> None:
    """The promise is five seconds, although a write to the full pipe cannot be interrupted."""
    process = start_with_pipe(tap_config(topics=[large_topic], tail=tail, state_interval_secs=0.01))
    eventually(lambda: len(emulator.requests()) == 1, "a request, whose page gets stuck")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    assert_ended_without_the_loader(process, large_topic)


def test_a_run_ends_whose_loader_reads_neither_stdout_nor_stderr(
    emulator: Emulator, tap_config: TapConfig, large_topic: int
) -> None:
    """The line that would say why cannot be written either."""
    unread, stderr = os.pipe()
    os.set_blocking(stderr, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(stderr, b"x" * 65_536)
    os.set_blocking(stderr, True)
    config = tap_config(topics=[large_topic], max_run_secs=2)
    process = start_with_pipe(config, stderr=stderr, LOGLEVEL="ERROR")
    eventually(lambda: len(emulator.requests()) == 1, "a request, whose page gets stuck")
    assert process.wait(WITHOUT_LOADER_SECS) == 1
    process.communicate()
    os.close(stderr)
    os.close(unread)


def test_max_run_secs_ends_a_run_whose_loader_has_stopped_reading(
    emulator: Emulator, tap_config: TapConfig, large_topic: int
) -> None:
    """The limit holds, whether anyone reads or not."""
    process = start_with_pipe(tap_config(topics=[large_topic], max_run_secs=2))
    eventually(lambda: len(emulator.requests()) == 1, "a request, whose page gets stuck")
    assert_ended_without_the_loader(process, large_topic)


def test_a_signal_ends_batch_mode_whose_loader_has_stopped_reading(
    emulator: Emulator, tap_config: TapConfig, tmp_path: Path
) -> None:
    """In batch mode the SDK writes, and the flush at exit would block, too."""
    topic = emulator.create_topic()
    storage = {"root": tmp_path.as_uri()}
    config = tap_config(
        topics=[{"id": topic, "schema": {"type": "object", "title": "x" * 200_000}}],
        batch_config={"encoding": {"format": "jsonl"}, "storage": storage},
    )
    process = start_with_pipe(config)
    assert process.stdout
    # The first line is the SCHEMA, of which the pipe holds a part.
    assert process.stdout.read(1) == b"{"
    process.send_signal(signal.SIGTERM)
    assert process.wait(WITHOUT_LOADER_SECS) == 0
    process.communicate()


def test_a_slow_loader_is_waited_for(tap_config: TapConfig, large_topic: int) -> None:
    """As long as it reads, everything that was read is written before the run ends."""
    process = start_with_pipe(tap_config(topics=[large_topic], max_run_secs=0.5))
    time.sleep(1.0)
    outcome = read_slowly(process, chunk_bytes=30_000, rest_secs=0.2)
    assert outcome.exit_code == 0, outcome.stderr
    assert_states_are_true(outcome)
    assert bookmark(outcome.states[-1], f"topic_{large_topic}") == ids(outcome)[-1]


def test_sigint_during_imports_prints_no_traceback(tap_config: TapConfig) -> None:
    """The first instruction of the executable handles it."""
    [executable] = entry_points(group="console_scripts", name="tap-workato-streams")
    script = f"""
import os, signal, sys
class Interrupt:
    def find_spec(self, name, *_):
        if name == "singer_sdk":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
from {executable.module} import {executable.attr} as main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "--config", tap_config(topics=[1])],
        capture_output=True,
        check=False,
        env=environment(),
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")
