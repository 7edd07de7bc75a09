"""Nothing is lost: whenever a run is killed, the next one resumes from its last STATE."""

import random
import signal
from typing import Any
from urllib.parse import urlsplit

import pytest
from workato_streams_emulator import Emulator

from tests.support.executables import Outcome
from tests.support.running import await_full_pipe, eventually, never
from tests.support.tap import bookmark, read_slowly
from tests.support.tap_output import assert_states_are_true, ids

TOPICS = 3
PAYLOAD = {"text": "x" * 300}


@pytest.mark.parametrize("seed", range(3))
def test_taps_killed_at_random_moments_lose_no_message(emulator, start_tap, seed):
    """The complete RECORD lines of all runs are the published messages, in topic order."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    published: dict[str, list[str]] = {}
    for topic in range(1, TOPICS + 1):
        emulator.create_topic(f"topic {topic}", id=topic)
        published[f"topic_{topic}"] = emulator.load(topic, [PAYLOAD] * 1_500)
    # Slow enough that no run comes to its end before it is killed.
    emulator.configure(latency_secs=0.02)
    settings: dict[str, Any] = {
        "topics": list(range(1, TOPICS + 1)),
        "batch_size": chance.choice([3, 7, 11]),
        "state_interval_secs": 0.05,
        "tail": seed % 2 == 0,
    }
    state: dict[str, Any] = {}
    runs = []
    for _ in range(3):
        tap = start_tap(state=state, **settings)
        tap.wait_for_records(chance.randint(1, 300))
        killed = tap.kill()
        whole = killed.stdout[: killed.stdout.rfind(b"\n") + 1]
        runs.append((state, Outcome(killed.exit_code, whole, killed.stderr)))
        assert killed.exit_code < 0
        state = (runs[-1][1].states or [state])[-1]
    emulator.configure(latency_secs=0.0)
    last = start_tap(state=state, **{**settings, "tail": False, "batch_size": 50}).end()
    assert last.exit_code == 0
    runs.append((state, last))

    for given, run in runs:
        assert_states_are_true(run, given)
        for stream, messages in published.items():
            # No run leaves out, repeats or reorders anything after the state that it was given.
            place = bookmark(given, stream)
            start = messages.index(place) + 1 if place else 0
            read = ids(run, stream)
            assert read == messages[start : start + len(read)]
    for stream, messages in published.items():
        assert bookmark(last.states[-1], stream) == messages[-1]
        assert {each for _, run in runs for each in ids(run, stream)} == set(messages)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_slow_loader_gets_every_line_whole(emulator, topic, start_with_pipe, unbuffered):
    payloads = [{"n": n, "text": "é" * 20_000} for n in range(60)]
    published = emulator.load(topic, payloads)
    process = start_with_pipe(topics=[topic], env={"PYTHONUNBUFFERED": unbuffered})
    outcome = read_slowly(process, chunk_bytes=40_000, rest_secs=0.005)
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert [record["payload"] for record in outcome.records()] == payloads
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]


def test_memory_is_bounded_if_the_loader_does_not_read(emulator, start_with_pipe):
    """A topic is asked for one page only while it cannot be written."""
    for topic in (1, 2):
        emulator.create_topic(f"topic {topic}", id=topic)
        emulator.load(topic, [{"text": "x" * 10_000} for _ in range(300)])
    process = start_with_pipe(topics=[1, 2])

    def asked() -> list[int]:
        return [len(emulator.requests(topic_id=topic)) for topic in (1, 2)]

    eventually(lambda: asked() == [1, 1], "a request per topic")
    await_full_pipe(process)
    never(lambda: asked() != [1, 1], "another page was requested")
    stdout, _ = process.communicate()
    assert process.returncode == 0
    assert len(Outcome(0, stdout, "").records()) == 600


def test_tail_mode_emits_each_message_once_and_in_order(emulator, topic, start_tap):
    """The faults, the length of pages and the time of arrival are random."""
    emulator.configure(page_limit=3)
    for number, kind in enumerate(("reset_after", "cut", "cut_json"), start=1):
        emulator.fault(kind, after=number * 4)
    tail = start_tap(topics=[topic], tail=True, timeout_secs=1, state_interval_secs=0.05)
    published = [each for n in range(60) for each in emulator.load(topic, [{"n": n}])]
    tail.wait_for_bookmark("topic_1", published[-1])
    assert ids(tail.so_far) == published
    assert tail.stderr.count("retrying in") == 3
    assert_states_are_true(tail.so_far)


def test_tail_mode_survives_an_outage_of_the_service(tmp_path, start_tap):
    database = tmp_path / "service.db"
    with Emulator.start(database=database) as before:
        topic = before.create_topic()
        published = before.load(topic, [{"n": n} for n in range(5)])
        tail = start_tap(topics=[topic], tail=True, api_url=before.url, state_interval_secs=0.1)
        tail.wait_for_bookmark("topic_1", published[-1])
        port = urlsplit(before.url).port or 0
    tail.wait_for(lambda run: "retrying in" in run.stderr, "a retry")
    with Emulator.start(database=database, port=port) as after:
        published += after.load(topic, [{"n": n} for n in range(5)])
        tail.wait_for_bookmark("topic_1", published[-1])
        assert ids(tail.so_far) == published
        tail.send(signal.SIGTERM)
        assert tail.end().exit_code == 0
