"""SIGTERM and SIGINT end a run soon and in order; a second signal or a kill loses nothing."""

import fcntl
import os
import random
import select
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from workato_streams_emulator import Emulator

from tests.support.executables import Outcome, command, environment
from tests.support.injection import injected
from tests.support.running import (
    WAIT_SECS,
    await_full_pipe,
    await_handled,
    eventually,
    insist,
    killed_at_end,
    never,
)
from tests.support.singer_lines import lines, orders, schema, state
from tests.support.tap import END_SECS, bookmark, read_slowly
from tests.support.tap_output import assert_states_are_true, await_polls, ids

# The shortened grace is a second, and this machine may be busy.
WITHOUT_LOADER_SECS = 10.0


def grace(folder: Path, name: str) -> dict[str, str]:
    """Return the environment in which a tap waits only a second for its loader."""
    code = f"from tap_workato_streams.reading import clock; clock.{name} = 1.0"
    return injected(folder / "site", code)


@pytest.fixture
def large_topic(emulator: Emulator, topic: int) -> int:
    """A topic with more than a pipe holds."""
    emulator.load(topic, [{"text": "x" * 5_000} for _ in range(500)])
    return topic


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_a_long_poll_ends_the_run_with_its_state(emulator, start_tap, signum):
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


def test_a_signal_during_a_pause_ends_the_run(emulator, start_tap):
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    published = emulator.load(topics[0], [{"n": 1}])
    emulator.fault("status", status=429, headers={"Retry-After": "60"}, after=4, times=-1)
    tail = start_tap(topics=topics, tail=True, timeout_secs=1)
    tail.wait_for_records(1)
    tail.wait_for(lambda run: "HTTP 429" in run.stderr, "a warning of the pause")
    tail.send(signal.SIGTERM)
    ended = tail.end(within=END_SECS)
    assert ended.exit_code == 0
    assert bookmark(ended.states[-1], "topic_1") == published[0]


@pytest.mark.parametrize("others", [0, 1], ids=["nothing was read", "another topic was read"])
@pytest.mark.parametrize("tail", [False, True], ids=["once", "tail"])
def test_a_signal_while_a_request_is_retried_ends_the_run_with_its_error(
    emulator, start_tap, tail, others
):
    """Otherwise, a scheduler would take the run for one that has read everything."""
    bad, *good = [emulator.create_topic(f"topic {n}") for n in range(1 + others)]
    for topic in good:
        emulator.load(topic, [{}])
    emulator.fault("status", status=503, topic_id=bad, times=-1)
    tap = start_tap(topics=[bad, *good], tail=tail)
    tap.wait_for(lambda run: "HTTP 503" in run.stderr, "a retry")
    tap.wait_for_records(others)
    tap.send(signal.SIGTERM)
    ended = tap.end(within=END_SECS)
    assert (ended.exit_code, len(ids(ended))) == (1, others)
    [line] = ended.error_lines
    assert line == ended.stderr.splitlines()[-1]
    assert f"topic_{bad} (topic {bad}): HTTP 503" in line
    assert "; a signal ended the run before a retry succeeded" in line


# As with PYTHONUNBUFFERED, if a signal interrupts a write.
PARTIAL_WRITES = """
    import io, sys
    class Partial(io.FileIO):
        def write(self, data):
            return super().write(data[:10_000])
    sys.stdout = io.TextIOWrapper(Partial(1, "w", closefd=False), write_through=True)
"""


@pytest.mark.parametrize("fault", ["", PARTIAL_WRITES], ids=["whole writes", "partial writes"])
def test_a_signal_while_stdout_blocks_truncates_no_line(emulator, start_with_pipe, tmp_path, fault):
    """The page that is being written is completed, and the state covers it; no other follows."""
    for topic in (1, 2):
        emulator.create_topic(f"topic {topic}", id=topic)
        emulator.load(topic, [{"text": "x" * 10_000} for _ in range(200)])
    settings = {"topics": [1, 2], "tail": True, "state_interval_secs": 600}
    process = start_with_pipe(env=injected(tmp_path / "site", fault), **settings)
    # The page of one topic is stuck in the pipe, the other one's waits behind it.
    eventually(lambda: len(emulator.requests()) == 2, "two requests")
    await_full_pipe(process)
    await_handled(process, signal.SIGTERM)
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


def test_a_second_signal_ends_the_process_at_once(start_with_pipe, large_topic):
    """While stdout blocks, the first signal waits, and the second does not."""
    process = start_with_pipe(topics=[large_topic], tail=True)
    await_full_pipe(process)
    await_handled(process, signal.SIGTERM)
    never(lambda: process.poll() is not None, "the first signal ended the process")
    insist(process, signal.SIGTERM)
    assert process.returncode == -signal.SIGTERM
    process.communicate()


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_during_discovery_ends_the_process(emulator, start_tap, developer, signum):
    """There is no state yet, so it does not look like success; no error, and no traceback."""
    emulator.fault("stall", operation="topics", secs=30, times=-1)
    tap = start_tap(**developer)
    eventually(lambda: emulator.requests(operation="topics"), "a request for topics")
    tap.send(signum)
    ended = tap.end(within=END_SECS)
    assert ended.exit_code == -signum
    assert "stopped before the first message was read; run again" in ended.stderr
    assert ended.stdout == b""
    assert "Traceback" not in ended.stderr
    assert ended.error_lines == []


@pytest.mark.parametrize(
    ("max_run_secs", "grace_secs"),
    [(None, "SIGNAL_GRACE_SECS"), (2, "GRACE_SECS"), (1, "SIGNAL_GRACE_SECS")],
    ids=["signal", "max_run_secs", "signal after max_run_secs"],
)
def test_a_run_ends_whose_loader_has_stopped_reading(
    start_with_pipe, large_topic, tmp_path, max_run_secs, grace_secs
):
    """It ends although a write to the full pipe cannot be interrupted, soon after a signal."""
    settings = {"tail": True, "state_interval_secs": 0.01, "max_run_secs": max_run_secs}
    process = start_with_pipe(topics=[large_topic], env=grace(tmp_path, grace_secs), **settings)
    await_full_pipe(process)
    if grace_secs == "SIGNAL_GRACE_SECS":
        never(lambda: process.poll() is not None, "the run ended without a signal")
        process.send_signal(signal.SIGTERM)
    assert process.wait(WITHOUT_LOADER_SECS) == 1
    stdout, stderr = process.communicate()
    # The last line may be truncated: nobody read it.
    written = Outcome(1, b"\n".join(stdout.splitlines()[:-1]), stderr.decode())
    [error] = written.error_lines
    assert "cannot write to stdout (the loader has stopped reading)" in error
    assert "Traceback" not in written.stderr
    assert "Fatal" not in written.stderr
    assert_states_are_true(written)
    assert 0 < len(ids(written)) < 500


def test_a_run_ends_whose_loader_reads_neither_stdout_nor_stderr(
    start_with_pipe, large_topic, tmp_path
):
    """The line that would say why cannot be written either."""
    unread, stderr = os.pipe()
    os.write(stderr, bytes(fcntl.fcntl(stderr, fcntl.F_GETPIPE_SZ)))
    settings = {"topics": [large_topic], "max_run_secs": 2}
    env = {"LOGLEVEL": "ERROR", **grace(tmp_path, "GRACE_SECS")}
    process = start_with_pipe(stderr=stderr, env=env, **settings)
    await_full_pipe(process)
    assert process.wait(WITHOUT_LOADER_SECS) == 1
    process.communicate()
    os.close(stderr)
    os.close(unread)


@pytest.mark.parametrize("status", [None, 404], ids=["no error", "an error"])
def test_a_signal_ends_a_run_whose_stderr_nobody_reads(emulator, start_with_pipe, tmp_path, status):
    """The summaries or the last line of the run block."""
    topics = [emulator.create_topic("good"), emulator.create_topic("bad")]
    if status:
        emulator.fault("status", status=status, topic_id=topics[1], times=-1)
    unread, stderr = os.pipe()
    env = {"LOGLEVEL": "ERROR" if status else "INFO", **grace(tmp_path, "SIGNAL_GRACE_SECS")}
    process = start_with_pipe(stderr, env=env, topics=topics, tail=True)
    assert os.read(unread, 1)
    await_polls(emulator, 1 if status else 2)
    # Another description of the file, or the tap's writes would not block either.
    filler = os.open(f"/proc/self/fd/{stderr}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while True:
            os.write(filler, b"x")
    process.send_signal(signal.SIGTERM)
    assert process.wait(WITHOUT_LOADER_SECS) != 0
    process.communicate()
    for descriptor in (unread, stderr, filler):
        os.close(descriptor)


# The second worker cannot start, after the first one has written what it has read.
NO_SECOND_WORKER = """
    import threading
    start, started = threading.Thread.start, []
    def start_once(thread):
        if thread._target and thread._target.__name__ == "_work":
            started.append(thread)
        if len(started) == 2:
            started[0].join(30)
            raise RuntimeError("can't start new thread")
        start(thread)
    threading.Thread.start = start_once
"""


def test_a_thread_that_cannot_start_ends_the_run_with_its_state(emulator, run_tap, tmp_path):
    topics = [emulator.create_topic("one"), emulator.create_topic("other")]
    published = emulator.load(1, [{}, {}])
    env = injected(tmp_path / "site", NO_SECOND_WORKER)
    run = run_tap(topics=topics, env=env)
    assert run.exit_code == 1
    assert ids(run) == published
    assert bookmark(run.states[-1], "topic_1") == published[-1]
    last = run.stderr.splitlines()[-1]
    assert "can't start new thread; allow the process more threads" in last


def test_a_slow_loader_is_waited_for(start_with_pipe, large_topic, tmp_path):
    """As long as it reads, everything that was read is written before the run ends.

    The page takes longer than the time that a loader may not read.
    """
    env = grace(tmp_path, "GRACE_SECS")
    process = start_with_pipe(topics=[large_topic], max_run_secs=1, env=env)
    outcome = read_slowly(process, chunk_bytes=30_000, rest_secs=0.3)
    assert outcome.exit_code == 0, outcome.stderr
    assert_states_are_true(outcome)
    assert bookmark(outcome.states[-1], f"topic_{large_topic}") == ids(outcome)[-1]


def test_a_limit_waits_for_a_loader_that_drains(start_with_pipe, large_topic, tmp_path):
    """It does not read while it writes a batch; a truncated line would prevent its commit."""
    env = grace(tmp_path, "SIGNAL_GRACE_SECS")
    process = start_with_pipe(topics=[large_topic], max_run_secs=1, env=env)
    await_full_pipe(process)
    # A batch takes longer than three seconds.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(4)
    stdout, stderr = process.communicate()
    outcome = Outcome(process.returncode, stdout, stderr.decode())
    assert outcome.exit_code == 0, outcome.stderr
    assert_states_are_true(outcome)
    assert bookmark(outcome.states[-1], f"topic_{large_topic}") == ids(outcome)[-1]


def published_ids(emulator: Emulator, topic: int) -> list[int]:
    """The ids of the records in the topic, in order."""
    return [payload["id"] for payload in emulator.payloads(topic)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_what_has_been_read_and_emits_its_state(
    emulator, topic, start_target, number
):
    """While the input is open, the unfinished batch is published and its state emitted."""
    target = start_target(max_batch_age_secs=60)
    target.feed(schema(), *orders(105), state("all"))
    eventually(lambda: len(published_ids(emulator, topic)) == 100, "the first batch")
    target.send(number)
    done = target.end(within=10)
    assert done.exit_code == 0
    assert done.emitted_states == [{"at": "all"}]
    assert published_ids(emulator, topic) == list(range(105))


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


def test_all_that_was_read_before_a_signal_is_published(emulator, topic, start_target, tmp_path):
    target = start_target(env=injected(tmp_path / "site", SIGNAL_AFTER_READ))
    # A single write, which the target reads with one call.
    target.feed(schema(), *orders(105), state("all"))
    done = target.end(within=10)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert published_ids(emulator, topic) == list(range(105))


def test_a_signal_while_reading_pauses_ends_the_run(emulator, topic, start_target):
    """If input arrives faster than it is published, the records that were read are published."""
    emulator.configure(latency_secs=0.2)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(500, state_every=10))
    eventually(lambda: target.emitted, "the first state")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    published = published_ids(emulator, topic)
    assert done.exit_code == 0
    assert published == list(range(len(published)))
    assert len(published) < 500
    # The last record taken in may be the one before a state.
    assert len(published) - 10 <= done.emitted_states[-1]["at"] + 1 <= len(published)


@pytest.mark.parametrize("repeated", [False, True], ids=["one signal", "two signals"])
def test_a_signal_ends_the_run_if_the_service_does_not_respond(emulator, start_target, repeated):
    """A second signal ends it immediately; the states cover acknowledged records only."""
    emulator.fault("stall", secs=60, after=1, times=-1)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(20, state_every=10))
    eventually(lambda: len(emulator.requests()) == 2, "the request without a response")
    target.send(signal.SIGTERM)
    never(lambda: not target.is_running, "the first signal ended the process")
    if repeated:
        target.insist(signal.SIGTERM)
    done = target.end(within=12)
    assert done.exit_code == (128 + signal.SIGTERM if repeated else 1)
    assert done.emitted_states == [{"at": 9}]
    assert repeated or "10 unacknowledged messages" in done.error_lines[0]


SIGNAL_BEFORE_THE_FIRST_READ = """
    import os, signal
    from target_workato_streams import target
    make_producer = target.make_producer
    def interrupted(*args):
        os.kill(os.getpid(), signal.SIGTERM)
        return make_producer(*args)
    target.make_producer = interrupted
"""


def test_a_signal_before_the_first_read_is_not_a_success(emulator, run_target, tmp_path):
    """Nothing has been read, so the exit code is that of a process without a handler."""
    env = injected(tmp_path / "site", SIGNAL_BEFORE_THE_FIRST_READ)
    done = run_target(schema(), *orders(1), state("all"), env=env)
    assert (done.exit_code, done.emitted_states) == (128 + signal.SIGTERM, [])
    assert emulator.requests() == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_kill_at_any_moment_loses_nothing(
    emulator, topic, start_target, run_target, seed, in_flight
):
    """A run that resumes from the last state publishes all that is missing."""
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    emulator.configure(latency_secs=0.01)
    count, state_every = 400, chance.choice([1, 7, 25])
    settings = {"batch_size_rows": 10, "max_in_flight": in_flight}
    target = start_target(**settings)
    target.feed(schema(), *orders(count, state_every=state_every))
    enough = chance.randrange(1, count)
    eventually(lambda: len(published_ids(emulator, topic)) >= enough, "the moment to kill it")
    target.kill()
    start = target.emitted[-1] + 1 if target.emitted else 0
    assert set(range(start)) <= set(published_ids(emulator, topic))
    rest = orders(count - start, start=start)
    done = run_target(schema(), *rest, state("all"), **settings)
    assert (done.exit_code, done.emitted_states[-1]) == (0, {"at": "all"})
    after = published_ids(emulator, topic)
    assert set(after) == set(range(count))
    # What was in flight, what was acknowledged a moment ago, and what was read since the state.
    assert len(after) - count <= 20 * in_flight + state_every


def test_a_kill_duplicates_at_most_the_batches_in_flight_and_what_follows_the_last_state(
    emulator, topic, start_target
):
    """While one batch is late, the others of its topic do not go on without end."""
    emulator.fault("stall", secs=60)
    target = start_target(batch_size_rows=10, max_in_flight=3)
    target.feed(schema(), *orders(400, state_every=10))
    eventually(lambda: len(published_ids(emulator, topic)) >= 20, "the other batches")
    never(lambda: len(published_ids(emulator, topic)) > 30, "more than two others follow it")
    target.kill()
    # The batch that is late may be the first or one that overtook it.
    start = target.emitted[-1] + 1 if target.emitted else 0
    duplicated = [number for number in published_ids(emulator, topic) if number >= start]
    assert len(duplicated) <= 20


# The run would otherwise wait for eight seconds, as in the test without a response above.
SHORT_GRACE = """
    from target_workato_streams.publishing import producer as shutdown
    shutdown.GRACE_SECS = 2.0
"""


def test_a_signal_ends_the_run_if_nothing_reads_stdout(emulator, topic, target_config, tmp_path):
    """Publishing continues while stdout is full, and the run ends within 10 s of the signal."""
    config = target_config(batch_size_rows=1)
    process = subprocess.Popen(
        command("target-workato-streams", "--config", config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**injected(tmp_path / "site", SHORT_GRACE)),
        bufsize=0,
    )
    with killed_at_end(process):
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(lines(schema(), *orders(10), state("larger than a pipe" * 10_000)))
        assert select.select([process.stdout], [], [], WAIT_SECS)[0]
        process.stdin.write(lines(*orders(50, start=10)))
        eventually(lambda: len(published_ids(emulator, topic)) == 60, "all records")
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
    emulator, target_config, redirection, reason
):
    files = " ".join(command("target-workato-streams", "--config", target_config()))
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {files} {redirection}"],
        input=lines(schema(), *orders(1)),
        capture_output=True,
        check=False,
        timeout=30,
        env=environment(),
    )
    assert done.returncode == 1
    assert done.stderr.count(reason) == 1
    assert b"Traceback" not in done.stderr
    assert emulator.requests() == []
