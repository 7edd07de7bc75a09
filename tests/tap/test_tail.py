"""Tail: topics are read as they grow, idle ones for one long poll at a time, until a signal."""

from __future__ import annotations

import signal
import subprocess
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.executables import Outcome, command, environment
from tests.tap.running import bookmark, eventually
from tests.tap.singer import assert_states_are_true, consumed, ids

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
    from tests.emulator.log import LoggedRequest
    from tests.tap.conftest import StartTap, TapConfig

# What a signal may take in all; the promise is two seconds, this machine may be busy.
END_SECS = 5.0


def polling(emulator: Emulator) -> list[LoggedRequest]:
    """The long polls that the service has not answered yet."""
    return [
        request
        for request in emulator.requests(operation="consume")
        if request.finished_at is None and b"timeout_secs" in request.body
    ]


def await_polls(emulator: Emulator, count: int = 1) -> None:
    """Wait until so many long polls are open."""
    eventually(lambda: len(polling(emulator)) == count, f"{count} open long polls")


def test_a_message_that_arrives_is_written_while_the_poll_goes_on(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """Each arrival answers the poll that waits for it; idle time costs that one poll."""
    topic = emulator.create_topic()
    # No STATE line helps a record out of a buffer.
    tail = start_tap(topics=[topic], tail=True, state_interval_secs=600)
    published = []
    for n in range(3):
        await_polls(emulator)
        published += emulator.load(topic, [{"n": n}])
        tail.wait_for_records(n + 1)
    await_polls(emulator)
    assert ids(tail.so_far) == published
    assert consumed(emulator) == [
        {"batch_size": 50, "timeout_secs": 50},
        *({"batch_size": 50, "timeout_secs": 50, "after_message_id": id_} for id_ in published),
    ]


def test_state_is_told_within_its_interval_while_all_is_idle(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """A changed state is told without another message to come, and told once."""
    topic = emulator.create_topic()
    tail = start_tap(topics=[topic], tail=True, state_interval_secs=0.2)
    for n in range(2):
        await_polls(emulator)
        [message_id] = emulator.load(topic, [{"n": n}])
        tail.wait_for_bookmark("topic_1", message_id)
    time.sleep(1.0)
    states = [state for state in tail.so_far.states if bookmark(state, "topic_1")]
    assert all(state != following for state, following in pairwise(states))
    assert len(states) == 2
    assert_states_are_true(tail.so_far)


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
    process = _tail_with_pipe(config, PYTHONUNBUFFERED=unbuffered)
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
    process = _tail_with_pipe(tap_config(topics=[topic], tail=True))
    # One page is stuck in the pipe, the next one waits behind it.
    eventually(lambda: len(emulator.requests()) == 2, "two requests")
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGTERM)
    assert process.wait(END_SECS) == -signal.SIGTERM
    process.communicate()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_closed_output_ends_a_tail_quietly(
    emulator: Emulator, tap_config: TapConfig, unbuffered: str
) -> None:
    """When the reader of stdout goes while messages come, there is no traceback and no error."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(50)])
    process = _tail_with_pipe(tap_config(topics=[topic], tail=True), PYTHONUNBUFFERED=unbuffered)
    assert process.stdout
    assert process.stderr
    assert [process.stdout.readline()[:16] for _ in range(51)][-1] == b'{"type":"RECORD"'
    process.stdout.close()
    await_polls(emulator)
    emulator.load(topic, [{"text": "x" * 100_000}])
    assert process.wait(END_SECS) == 0
    logged = process.stderr.read().decode()
    process.stderr.close()
    for sign in ("Traceback", "ERROR", "BrokenPipe"):
        assert sign not in logged


def test_a_closed_output_ends_an_idle_tail_too(emulator: Emulator, tap_config: TapConfig) -> None:
    """With nothing to write the tap still finds out that nobody reads."""
    topic = emulator.create_topic()
    [message_id] = emulator.load(topic, [{}])
    config = tap_config(topics=[topic], tail=True, state_interval_secs=0.2)
    process = _tail_with_pipe(config)
    assert process.stdout
    assert process.stderr
    while b'"STATE"' not in (line := process.stdout.readline()) or message_id.encode() not in line:
        assert line
    await_polls(emulator)
    process.stdout.close()
    assert process.wait(END_SECS) == 0
    logged = process.stderr.read().decode()
    process.stderr.close()
    for sign in ("Traceback", "ERROR", "BrokenPipe"):
        assert sign not in logged


def test_all_topics_are_polled_at_once_with_one_request_each(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """`max_parallel_topics` is for runs that end: a tail reads every topic, one request each."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(12)]
    tail = start_tap(topics=topics, tail=True, max_parallel_topics=2)
    await_polls(emulator, 12)
    assert sorted(request.topic_id or 0 for request in polling(emulator)) == topics
    published = {topic: emulator.load(topic, [{"of": topic}])[0] for topic in topics}
    tail.wait_for_records(12)
    await_polls(emulator, 12)
    for topic, message_id in published.items():
        assert ids(tail.so_far, f"topic_{topic}") == [message_id]
        asked = emulator.requests(operation="consume", topic_id=topic)
        assert len(asked) == 2
        assert asked[0].finished_at is not None
        assert asked[0].finished_at <= asked[1].at


def test_the_read_timeout_is_longer_than_the_poll(emulator: Emulator, start_tap: StartTap) -> None:
    """`request_timeout_secs` comes on top of the long poll, so that no poll is cut off."""
    topic = emulator.create_topic()
    tail = start_tap(topics=[topic], tail=True, timeout_secs=2, request_timeout_secs=0.5)
    eventually(lambda: len(emulator.requests()) == 2, "a second poll")
    assert [request.status for request in emulator.requests()] == [200, None]
    assert "WARNING" not in tail.stderr


def test_a_topic_that_fails_for_good_ends_the_tail_after_the_others_state(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """The state of the others comes first, then one ERROR line about the topic, and exit code 1."""
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    published = emulator.load(good, [{"n": n} for n in range(5)])
    emulator.fault("status", status=404, topic_id=bad, after=1, times=-1)
    tail = start_tap(topics=[good, bad], tail=True, timeout_secs=1, state_interval_secs=600)
    tail.wait_for_records(5)
    ended = tail.end()
    assert ended.exit_code == 1
    assert ids(ended, f"topic_{good}") == published
    assert bookmark(ended.states[-1], f"topic_{good}") == published[-1]
    [line] = ended.error_lines
    assert f"topic_{bad} (topic {bad})" in line
    assert "404" in line


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "reset"},
        {"kind": "status", "status": 200, "body": "<html>Sign in</html>"},
    ],
    ids=["503", "reset", "html"],
)
def test_a_topic_that_fails_for_a_while_does_not_hold_up_the_others(
    emulator: Emulator, start_tap: StartTap, fault: dict[str, Any]
) -> None:
    """What comes into the others is written while the one is tried again, and then its own."""
    good, bad = emulator.create_topic("good"), emulator.create_topic("bad")
    emulator.fault(topic_id=bad, times=-1, **fault)
    tail = start_tap(topics=[good, bad], tail=True)
    tail.wait_for(lambda run: "trying again" in run.stderr, "a retry")
    published = emulator.load(good, [{"n": n} for n in range(3)])
    late = emulator.load(bad, [{"late": True}])
    tail.wait_for_records(3)
    assert ids(tail.so_far) == published
    emulator.clear_faults()
    tail.wait_for_records(4)
    assert ids(tail.so_far, f"topic_{bad}") == late


def test_a_poll_that_is_answered_at_once_makes_no_storm(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """Of a service that does not wait, an idle topic is asked once a second at most."""
    topic = emulator.create_topic()
    emulator.fault("status", status=200, body={"messages": []}, times=-1)
    start_tap(topics=[topic], tail=True)
    eventually(lambda: len(emulator.requests()) >= 4, "some polls")
    asked_at = [request.at for request in emulator.requests()]
    gaps = [later - earlier for earlier, later in pairwise(asked_at)]
    assert min(gaps) >= 0.9


def _tail_with_pipe(config: object, **variables: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command("tap-workato-streams", "--config", str(config)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(**variables),
    )
