"""A run whose stdout was closed ends with one line; a full disk is an error."""

import subprocess
from pathlib import Path

import pytest

from tests.support.executables import TIMEOUT_SECS, Outcome, command, environment
from tests.support.injection import STDOUT_CUT, injected
from tests.support.tap import END_SECS
from tests.support.tap_output import assert_states_are_true, await_polls


def assert_one_line(process: subprocess.Popen[bytes]) -> None:
    assert process.stderr
    logged = process.stderr.read().decode()
    process.stderr.close()
    assert logged.count("stdout was closed by the loader; the run ends") == 1
    for sign in ("Traceback", "ERROR", "BrokenPipe"):
        assert sign not in logged


def test_a_stdout_that_is_closed_from_the_start_is_reported_in_one_line(tap_config):
    """The next file or connection would otherwise take its place."""
    line = " ".join(command("tap-workato-streams", "--config", tap_config(topics=[1])))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{line} >&-"], stderr=subprocess.PIPE, check=False, env=environment()
    )
    assert done.returncode == 1
    assert done.stderr == b"tap-workato-streams: stdout is closed; there is nowhere to write to\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_stdout_ends_tail_mode(emulator, topic, start_with_pipe, unbuffered):
    emulator.load(topic, [{"n": n} for n in range(50)])
    process = start_with_pipe(topics=[topic], tail=True, env={"PYTHONUNBUFFERED": unbuffered})
    assert process.stdout
    assert [process.stdout.readline()[:16] for _ in range(51)][-1] == b'{"type":"RECORD"'
    process.stdout.close()
    await_polls(emulator)
    emulator.load(topic, [{"text": "x" * 100_000}])
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


def test_a_closed_stdout_ends_idle_tail_mode(emulator, topic, start_with_pipe):
    [message_id] = emulator.load(topic, [{}])
    process = start_with_pipe(topics=[topic], tail=True, state_interval_secs=0.2)
    assert process.stdout
    while b'"STATE"' not in (line := process.stdout.readline()) or message_id.encode() not in line:
        assert line
    await_polls(emulator)
    process.stdout.close()
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


def test_a_closed_stdout_ends_a_run(emulator, topic, start_with_pipe):
    """The loader may end after the first line, as `head` does."""
    emulator.load(topic, [{"text": "x" * 10_000} for _ in range(100)])
    process = start_with_pipe(topics=[topic])
    assert process.stdout
    assert b"SCHEMA" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_reported_in_one_line(emulator, topic, tap_config, unbuffered):
    emulator.load(topic, [{"n": 1}])
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            command("tap-workato-streams", "--config", tap_config(topics=[topic])),
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECS,
            check=False,
            env=environment(PYTHONUNBUFFERED=unbuffered),
        )
    assert done.returncode == 1
    [line] = [line for line in done.stderr.decode().splitlines() if "ERROR" in line]
    assert "cannot write to stdout (No space left on device); free some space and run again" in line
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


def test_nothing_follows_a_truncated_line(emulator, run_tap, tmp_path):
    """Neither topics that wait to write nor the last state do, although there is room again."""
    topics = [emulator.create_topic(f"topic {number}") for number in range(4)]
    for topic in topics:
        emulator.load(topic, [{"text": "x" * 500} for _ in range(200)])
    env = injected(tmp_path / "site", STDOUT_CUT)
    done = run_tap(topics=topics, batch_size=5, state_interval_secs=0.001, env=env)
    assert done.exit_code == 1
    [line] = done.error_lines
    assert "cannot write to stdout (No space left on device); free some space" in line
    assert len(done.stdout) == 30_000
    assert not done.stdout.endswith(b"\n")
    whole = done.stdout[: done.stdout.rfind(b"\n")]
    assert_states_are_true(Outcome(1, whole, done.stderr))
