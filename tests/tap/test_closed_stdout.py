"""A run whose stdout was closed ends with one line; a full disk is an error."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.executables import TIMEOUT_SECS, command, environment
from tests.tap.polls import await_polls
from tests.tap.running import END_SECS, start_with_pipe

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
    from tests.tap.conftest import TapConfig


def assert_one_line(process: subprocess.Popen[bytes]) -> None:
    """One line says why the run has ended; it is not an error."""
    assert process.stderr
    logged = process.stderr.read().decode()
    process.stderr.close()
    assert logged.count("stdout was closed by the loader; the run ends") == 1
    for sign in ("Traceback", "ERROR", "BrokenPipe"):
        assert sign not in logged


def test_a_stdout_that_is_closed_from_the_start_is_reported_in_one_line(
    tap_config: TapConfig,
) -> None:
    """The next file or connection would otherwise take its place."""
    line = " ".join(command("tap-workato-streams", "--config", tap_config(topics=[1])))
    done = subprocess.run(
        ["/bin/sh", "-c", f"{line} >&-"], stderr=subprocess.PIPE, check=False, env=environment()
    )
    assert done.returncode == 1
    assert done.stderr == b"tap-workato-streams: stdout is closed; there is nowhere to write to\n"


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_stdout_ends_tail_mode(
    emulator: Emulator, tap_config: TapConfig, unbuffered: str
) -> None:
    """If the loader closes it while messages arrive, there is neither a traceback nor an error."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(50)])
    process = start_with_pipe(tap_config(topics=[topic], tail=True), PYTHONUNBUFFERED=unbuffered)
    assert process.stdout
    assert process.stderr
    assert [process.stdout.readline()[:16] for _ in range(51)][-1] == b'{"type":"RECORD"'
    process.stdout.close()
    await_polls(emulator)
    emulator.load(topic, [{"text": "x" * 100_000}])
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


def test_a_closed_stdout_ends_idle_tail_mode(emulator: Emulator, tap_config: TapConfig) -> None:
    """A run that has nothing to write notices it, too."""
    topic = emulator.create_topic()
    [message_id] = emulator.load(topic, [{}])
    config = tap_config(topics=[topic], tail=True, state_interval_secs=0.2)
    process = start_with_pipe(config)
    assert process.stdout
    assert process.stderr
    while b'"STATE"' not in (line := process.stdout.readline()) or message_id.encode() not in line:
        assert line
    await_polls(emulator)
    process.stdout.close()
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


def test_a_closed_stdout_ends_a_run(emulator: Emulator, tap_config: TapConfig) -> None:
    """The loader may end after the first line, as `head` does."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"text": "x" * 10_000} for _ in range(100)])
    process = start_with_pipe(tap_config(topics=[topic]))
    assert process.stdout
    assert process.stderr
    assert b"SCHEMA" in process.stdout.readline()
    process.stdout.close()
    assert process.wait(END_SECS) == 0
    assert_one_line(process)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_is_reported_in_one_line(
    emulator: Emulator, tap_config: TapConfig, unbuffered: str
) -> None:
    """The exit code is 1, and there is no traceback at exit."""
    topic = emulator.create_topic()
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


def test_nothing_follows_a_line_that_a_full_disk_truncates(
    emulator: Emulator, tap_config: TapConfig, tmp_path: Path
) -> None:
    """Topics that wait for their turn write nothing more, and no state is emitted."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    for topic in topics:
        emulator.load(topic, [{"text": "x" * 10_000} for _ in range(100)])
    line = " ".join(command("tap-workato-streams", "--config", tap_config(topics=topics)))
    output = tmp_path / "output.jsonl"
    # 600 blocks of 512 bytes, in the middle of the first page.
    done = subprocess.run(
        ["/bin/sh", "-c", f"ulimit -f 600; exec {line} > {output}"],
        stderr=subprocess.PIPE,
        timeout=TIMEOUT_SECS,
        check=False,
        env=environment(),
    )
    assert done.returncode == 1
    assert b"cannot write to stdout (File too large)" in done.stderr
    *complete, truncated = output.read_bytes().split(b"\n")
    assert len(b"\n".join([*complete, truncated])) == 600 * 512
    written = Counter(json.loads(line)["type"] for line in complete)
    assert written.keys() == {"SCHEMA", "RECORD"}
    assert 20 < written["RECORD"] < 50
