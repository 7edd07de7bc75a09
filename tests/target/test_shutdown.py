"""A signal ends a run in an orderly way, a second one immediately; a kill loses nothing."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.executables import command, environment
from tests.injection import injected
from tests.running import eventually, killed_at_end
from tests.target.singer import orders, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget, StartTarget, TargetConfig

LONG = 5.0


def ids(emulator: Emulator, topic: int) -> list[int]:
    """The ids of the records in the topic, in order."""
    return [payload["id"] for payload in emulator.payloads(topic)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_what_has_been_read_and_emits_its_state(
    emulator: Emulator, topic: int, start_target: StartTarget, number: signal.Signals
) -> None:
    """While the input is open, the unfinished batch is published and its state emitted."""
    target = start_target(max_batch_age_secs=60)
    target.feed(schema(), *orders(105), state("all"))
    eventually(lambda: len(ids(emulator, topic)) == 100, "the first batch")
    target.send(number)
    done = target.end(within=10)
    assert done.exit_code == 0
    assert done.emitted_states == [{"at": "all"}]
    assert ids(emulator, topic) == list(range(105))


# The signal arrives before the first line of the input is processed.
SIGNAL_AFTER_READ = """
    import os, signal
    read = os.read
    def read_and_signal(descriptor, size):
        text = read(descriptor, size)
        if descriptor == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return text
    os.read = read_and_signal
"""


def test_all_that_was_read_before_a_signal_is_published(
    emulator: Emulator, topic: int, start_target: StartTarget, tmp_path: Path
) -> None:
    """The lines that are read with one call are processed, including the state at their end."""
    target = start_target(env=injected(tmp_path / "site", SIGNAL_AFTER_READ))
    # A single write, which the target reads with one call.
    target.feed(schema(), *orders(105), state("all"))
    done = target.end(within=10)
    assert done.exit_code == 0
    assert done.emitted_states == [{"at": "all"}]
    assert ids(emulator, topic) == list(range(105))


def test_a_signal_in_a_batch_file_leaves_the_state_behind_it_to_the_next_run(
    emulator: Emulator, topic: int, start_target: StartTarget, tmp_path: Path
) -> None:
    """The file may be too large for the rest of the time, and the state covers all of it."""
    file = tmp_path / "orders.jsonl"
    file.write_text('{"id": 1}\n', encoding="utf-8")
    batch = {
        "type": "BATCH",
        "stream": "orders",
        "encoding": {"format": "jsonl"},
        "manifest": [file.as_uri()],
    }
    target = start_target(env=injected(tmp_path / "site", SIGNAL_AFTER_READ))
    target.feed(state("before"), schema(), json.dumps(batch).encode(), state("after"))
    done = target.end(within=10)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "before"}])
    assert ids(emulator, topic) == []


def test_a_signal_during_a_request_waits_for_its_response(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """A request in flight is not resent, and its state is emitted after the response."""
    emulator.fault("latency", secs=2)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(15, state_every=5))
    eventually(emulator.requests, "the request")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    assert done.exit_code == 0
    assert done.emitted_states[-1] == {"at": 14}
    assert ids(emulator, topic) == list(range(15))
    assert len(emulator.requests()) == 2


def test_a_signal_while_reading_pauses_ends_the_run(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """If input arrives faster than it is published, the records that were read are published."""
    emulator.configure(latency_secs=0.2)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(500, state_every=10))
    eventually(lambda: target.emitted, "the first state")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    published = ids(emulator, topic)
    assert done.exit_code == 0
    assert published == list(range(len(published)))
    assert len(published) < 500
    # The last record taken in may be the one before a state.
    assert len(published) - 10 <= done.emitted_states[-1]["at"] + 1 <= len(published)


def test_a_signal_ends_the_run_if_the_service_does_not_respond(
    emulator: Emulator, start_target: StartTarget
) -> None:
    """The run does not wait for the response, and reports the unacknowledged messages."""
    emulator.fault("stall", secs=60, after=1, times=-1)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(20, state_every=10))
    eventually(lambda: len(emulator.requests()) == 2, "the request without a response")
    target.send(signal.SIGTERM)
    done = target.end(within=12)
    assert done.exit_code == 1
    assert done.emitted_states == [{"at": 9}]
    assert "10 unacknowledged messages" in done.error_lines[0]


SIGNAL_BEFORE_THE_FIRST_READ = """
    import os, signal
    from target_workato_streams import target
    make_producer = target.make_producer
    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return make_producer(*args)
    target.make_producer = interrupted
"""


def test_a_signal_before_the_first_read_is_not_a_success(
    emulator: Emulator, run_target: RunTarget, tmp_path: Path
) -> None:
    """Nothing has been read, so the exit code is that of a process without a handler."""
    env = injected(tmp_path / "site", SIGNAL_BEFORE_THE_FIRST_READ)
    done = run_target(schema(), *orders(1), state("all"), env=env)
    assert (done.exit_code, done.emitted_states) == (128 + signal.SIGTERM, [])
    assert emulator.requests() == []


def test_a_second_signal_stops_immediately(emulator: Emulator, start_target: StartTarget) -> None:
    """The emitted states cover acknowledged records only."""
    emulator.fault("stall", secs=60, after=1, times=-1)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(20, state_every=10))
    eventually(lambda: len(emulator.requests()) == 2, "the request without a response")
    target.send(signal.SIGTERM)
    time.sleep(0.3)
    assert target.is_running
    began = time.monotonic()
    target.insist(signal.SIGTERM)
    done = target.end()
    assert time.monotonic() - began < LONG
    assert done.exit_code == 128 + signal.SIGTERM
    assert done.emitted_states == [{"at": 9}]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_kill_at_any_moment_loses_nothing(
    emulator: Emulator, topic: int, start_target: StartTarget, seed: int, in_flight: int
) -> None:
    """A run that resumes from the last state publishes all that is missing."""
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    emulator.configure(latency_secs=0.01)
    count, batch, state_every = 400, 10, chance.choice([1, 7, 25])
    target = start_target(batch_size_rows=batch, max_in_flight=in_flight)
    target.feed(schema(), *orders(count, state_every=state_every))
    enough = chance.randrange(1, count)
    eventually(lambda: len(ids(emulator, topic)) >= enough, "the moment to kill it")
    target.kill()
    emitted = target.emitted
    before = ids(emulator, topic)
    start = emitted[-1] + 1 if emitted else 0
    assert set(range(start)) <= set(before)
    again = start_target(batch_size_rows=batch, max_in_flight=in_flight)
    again.feed(*(schema(), *orders(count - start, start=start), state("all")))
    again.close_input()
    done = again.end()
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    after = ids(emulator, topic)
    assert set(after) == set(range(count))
    # What was in flight, what was acknowledged a moment ago, and what was read since the state.
    assert len(after) - count <= 2 * in_flight * batch + state_every


def test_a_kill_duplicates_at_most_the_batches_in_flight_and_what_follows_the_last_state(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """While one batch is late, the others of its topic do not go on without end."""
    in_flight, batch = 3, 10
    emulator.fault("stall", secs=60)
    target = start_target(batch_size_rows=batch, max_in_flight=in_flight)
    target.feed(schema(), *orders(400, state_every=batch))
    eventually(lambda: len(ids(emulator, topic)) >= (in_flight - 1) * batch, "the other batches")
    time.sleep(0.5)
    target.kill()
    # The batch that is late may be the first or one that overtook it.
    start = target.emitted[-1] + 1 if target.emitted else 0
    duplicated = [number for number in ids(emulator, topic) if number >= start]
    assert len(duplicated) <= (in_flight - 1) * batch


# The run would otherwise wait for eight seconds, as in the test without a response above.
SHORT_GRACE = """
    from target_workato_streams.publishing import producer as shutdown
    shutdown.GRACE_SECS = 2.0
"""


def test_a_signal_ends_the_run_if_nothing_reads_stdout(
    emulator: Emulator, topic: int, target_config: TargetConfig, tmp_path: Path
) -> None:
    """Publishing continues while stdout is full, and the run ends within 10 s of the signal."""
    config = target_config(batch_size_rows=1)
    process = subprocess.Popen(
        command("target-workato-streams", "--config", config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**injected(tmp_path / "site", SHORT_GRACE)),
    )
    with killed_at_end(process):
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(schema() + b"\n")
        for number in range(60):
            large = {"number": number, "pad": "x" * 5000}
            process.stdin.write(b"".join(line + b"\n" for line in (*orders(1), state(large))))
        process.stdin.flush()
        eventually(lambda: len(ids(emulator, topic)) == 60, "all records")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 1
        assert b"nothing reads stdout" in process.stderr.read()


@pytest.mark.parametrize(
    ("redirection", "reason"),
    [
        ("0<&-", b"stdin is closed"),
        ("1>&-", b"stdout is closed"),
        ("0>/dev/null", b"cannot read the input (Bad file descriptor)"),
    ],
)
def test_a_closed_stdin_or_stdout_is_reported_in_one_line(
    emulator: Emulator, target_config: TargetConfig, redirection: str, reason: bytes
) -> None:
    """The error comes before the first request, without a traceback."""
    files = " ".join(command("target-workato-streams", "--config", target_config()))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {files} {redirection}"],
        input=schema() + b"\n" + b"\n".join(orders(1)),
        capture_output=True,
        check=False,
        timeout=30,
        env=environment(),
    )
    assert done.returncode == 1
    assert done.stderr.count(reason) == 1
    assert b"Traceback" not in done.stderr
    assert emulator.requests() == []
