"""Signals: a first one ends the run in order, a second one at once; a kill loses nothing."""

from __future__ import annotations

import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.running import eventually
from tests.target.singer import orders, schema, state

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
    from tests.target.conftest import StartTarget

LONG = 5.0


def ids(emulator: Emulator, topic: int) -> list[int]:
    """The ids of the records in the topic, in order."""
    return [payload["id"] for payload in emulator.payloads(topic)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_publishes_and_tells_what_has_been_read(
    emulator: Emulator, topic: int, start_target: StartTarget, number: signal.Signals
) -> None:
    """With the input open: the batch being filled goes out, its state is told, exit 0."""
    target = start_target(max_batch_age_secs=60)
    target.feed(schema(), *orders(105), state("all"))
    eventually(lambda: len(ids(emulator, topic)) == 100, "the first batch")
    target.send(number)
    done = target.end(within=10)
    assert done.exit_code == 0
    assert done.emitted_states == [{"at": "all"}]
    assert ids(emulator, topic) == list(range(105))


def test_a_signal_inside_a_request_waits_for_its_answer(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """What is under way is not sent again, and nothing is told before it is acknowledged."""
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
    """With more coming in than goes out, what was taken in is published, and the rest is left."""
    emulator.configure(latency_secs=0.2)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(500, state_every=10))
    eventually(lambda: target.told, "the first state")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    published = ids(emulator, topic)
    assert done.exit_code == 0
    assert published == list(range(len(published)))
    assert len(published) < 500
    # The last record taken in may be the one before a state.
    assert len(published) - 10 <= done.emitted_states[-1]["at"] + 1 <= len(published)


def test_a_signal_and_no_answer_ends_the_run_with_what_is_true(
    emulator: Emulator, start_target: StartTarget
) -> None:
    """It does not wait for a service that never responds, and reports unacknowledged messages."""
    emulator.fault("stall", secs=60, after=1, times=-1)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(20, state_every=10))
    eventually(lambda: len(emulator.requests()) == 2, "the request that is not answered")
    target.send(signal.SIGTERM)
    done = target.end(within=12)
    assert done.exit_code == 1
    assert done.emitted_states == [{"at": 9}]
    assert "10 messages" in done.error_lines[0]


def test_a_second_signal_stops_at_once_and_tells_nothing_untrue(
    emulator: Emulator, start_target: StartTarget
) -> None:
    """The states told are those of acknowledged records alone."""
    emulator.fault("stall", secs=60, after=1, times=-1)
    target = start_target(batch_size_rows=10)
    target.feed(schema(), *orders(20, state_every=10))
    eventually(lambda: len(emulator.requests()) == 2, "the request that is not answered")
    target.send(signal.SIGTERM)
    time.sleep(0.3)
    assert target.is_running
    began = time.monotonic()
    target.send(signal.SIGTERM)
    done = target.end()
    assert time.monotonic() - began < LONG
    assert done.exit_code == 128 + signal.SIGTERM
    assert done.emitted_states == [{"at": 9}]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("in_flight", [1, 3])
def test_a_kill_at_any_moment_loses_nothing(
    emulator: Emulator, topic: int, start_target: StartTarget, seed: int, in_flight: int
) -> None:
    """A run from the last state told publishes all that is missing."""
    chance = random.Random(seed)  # noqa: S311 - a test that can be repeated
    emulator.configure(latency_secs=0.01)
    count, batch, state_every = 400, 10, chance.choice([1, 7, 25])
    target = start_target(batch_size_rows=batch, max_in_flight=in_flight)
    target.feed(schema(), *orders(count, state_every=state_every))
    enough = chance.randrange(1, count)
    eventually(lambda: len(ids(emulator, topic)) >= enough, "the moment to kill it")
    target.kill()
    told = target.told
    before = ids(emulator, topic)
    start = told[-1] + 1 if told else 0
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


def test_a_kill_doubles_at_most_the_batches_in_flight_and_what_was_read_since_the_last_state(
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
    start = target.told[-1] + 1 if target.told else 0
    doubled = [number for number in ids(emulator, topic) if number >= start]
    assert len(doubled) <= (in_flight - 1) * batch
