"""The checkpoints, and how much memory they and the whole target use."""

import os
import subprocess
import sys
import time

from hypothesis import given
from hypothesis import strategies as st
from target_workato_streams.delivery.at_least_once import AtLeastOnce
from target_workato_streams.input.messages import Record, Stream
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.publishing.topic_producer import BatchQueue

from tests.support.executables import command, environment
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, record, schema, state

RECORD = Record(Stream("orders"), b"{}", 1)


def added(guarantee: AtLeastOnce[OutgoingMessage], sequence: int) -> OutgoingMessage:
    """A message that the guarantee waits for."""
    message = OutgoingMessage(b"{}", RECORD, sequence)
    assert guarantee.add_record(11, message)
    return message


@given(st.lists(st.sampled_from(["record", "state"]), max_size=40), st.randoms())
def test_the_newest_covered_state_is_emitted_whatever_the_order_of_acknowledgements(events, chance):
    """After each acknowledgement, no state precedes its records, and none is late."""
    guarantee: AtLeastOnce[OutgoingMessage] = AtLeastOnce()
    unacknowledged: list[tuple[int, OutgoingMessage]] = []
    states = []
    for number, event in enumerate(events):
        if event == "state":
            guarantee.add_state(b"%d" % number)
            states.append(number)
        else:
            unacknowledged.append((number, added(guarantee, number + 1)))
    emitted = -1

    def newest() -> int:
        first_unacknowledged = min((number for number, _ in unacknowledged), default=len(events))
        return max((number for number in states if number < first_unacknowledged), default=-1)

    def taken() -> int:
        state = guarantee.pop_state()
        return emitted if state is None else int(state)

    emitted = max(emitted, taken())
    assert emitted == newest()
    chance.shuffle(unacknowledged)
    while unacknowledged:
        _, message = unacknowledged.pop()
        guarantee.settle(11, [message], None)
        assert guarantee.unsettled == len(unacknowledged)
        emitted = max(emitted, taken())
        assert emitted == newest()


def test_a_slow_topic_does_not_accumulate_checkpoints():
    """While one record is unacknowledged, complete checkpoints after it are merged."""
    guarantee: AtLeastOnce[OutgoingMessage] = AtLeastOnce()
    first = added(guarantee, 1)
    for number in range(1000):
        guarantee.add_state(b"%d" % number)
        guarantee.settle(11, [added(guarantee, number + 2)], None)
    assert len(guarantee.checkpoints) <= 3
    assert guarantee.pop_state() is None
    guarantee.settle(11, [first], None)
    assert guarantee.pop_state() == b"999"


def test_a_record_that_is_kept_next_to_its_payload_counts_as_memory():
    """With `payload_field`, both are in memory; a record that is its own payload counts once."""
    text = b"x" * 100_000
    memory = []
    for body in (text, b"{}"):
        queue = BatchQueue(1)
        queue.put([OutgoingMessage(body, Record(Stream("orders"), text, 1), 1)])
        memory.append(queue.memory)
    record_as_payload, payload_of_a_field = memory
    assert 100_000 < record_as_payload < 110_000
    assert payload_of_a_field == record_as_payload + len(b"{}")


MEASURE = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdin=sys.stdin, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_input(target_config, tmp_path):
    """Ten times the records need the same memory, except for what the allocator may differ by."""
    target = command("target-workato-streams", "--config", target_config())
    peaks = []
    for count in (5_000, 50_000):
        path = tmp_path / "in.singer"
        with path.open("wb") as file:
            file.write(schema() + b"\n")
            for number in range(count):
                file.write(record(id=number, pad="x" * 300) + b"\n" + state(number) + b"\n")
        with path.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-c", MEASURE, *target],
                stdin=file,
                capture_output=True,
                check=True,
                env=environment(),
            )
        peaks.append(int(done.stdout))
    small, large = peaks
    assert large < small * 1.1


def test_memory_is_bounded_while_one_topic_fails(emulator, topic, target_config, tmp_path):
    """Reading goes on for the other topics, until 32 MB wait for the one that fails."""
    bad = emulator.create_topic("bad")
    emulator.fault("status", status=503, topic_id=bad, times=-1)
    settings = {"topics": {"bad": bad}, "max_batch_age_secs": 1}
    path = tmp_path / "in.singer"
    large = [record("bad", pad="x" * 10_000)]
    path.write_bytes(lines(schema(), schema("bad"), record(id=1), *large * 10_000))
    with path.open("rb") as stdin:
        process = subprocess.Popen(
            command("target-workato-streams", "--config", target_config(**settings)),
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
        )

        def read() -> int:
            return os.lseek(stdin.fileno(), 0, os.SEEK_CUR)  # the process shares the descriptor

        def has_paused() -> bool:
            before = read()
            time.sleep(0.5)
            return before == read()

        with killed_at_end(process):
            eventually(lambda: emulator.payloads(topic), "the record of the other topic")
            eventually(lambda: read() > 30_000_000 and has_paused(), "a pause in reading")
            assert read() < 40_000_000
