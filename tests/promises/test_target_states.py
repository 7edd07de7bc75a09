"""A state is emitted when all records before it are acknowledged: not earlier, not later."""

import json
import subprocess

import pytest

from tests.support.executables import TIMEOUT_SECS, command, environment
from tests.support.injection import LONG_WAITS, injected
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, orders, record, schema, state


def test_an_idle_input_delays_nothing(emulator, topic, start_target):
    """A batch is sent at its maximum age, and its state emitted, while no input arrives."""
    target = start_target(max_batch_age_secs=1)
    target.feed(schema(), *orders(3), state("all"))
    eventually(lambda: target.emitted == ["all"], "the state, with the input open")
    assert len(emulator.payloads(topic)) == 3
    assert len(emulator.requests()) == 1
    target.close_input()
    assert target.end().exit_code == 0


def test_a_batch_waits_for_more_until_it_is_old_enough(emulator, start_target):
    """Records that trickle in within the age share a request."""
    target = start_target(max_batch_age_secs=3)
    target.feed(schema())
    for number in range(4):
        target.feed(*orders(1, start=number), state(number))
        target.await_read()
    eventually(lambda: target.emitted, "the state of the trickle")
    assert target.emitted == [3]
    assert len(emulator.requests()) == 1


def test_a_state_without_records_is_emitted_immediately(start_target):
    target = start_target(max_batch_age_secs=60)
    target.feed(state("first"))
    eventually(lambda: target.emitted == ["first"], "a state that stands before all records")


def test_a_state_waits_for_the_records_of_every_stream(emulator, topic, start_target):
    """A slow topic delays the states after its records; then the newest is emitted."""
    slow = emulator.create_topic("slow")
    emulator.fault("latency", secs=2, operation="batch", topic_id=slow)
    target = start_target(topics={"slow": slow, "*": topic}, max_batch_age_secs=0)
    target.feed(schema(), schema("slow"), *orders(1), state("before"))
    eventually(lambda: target.emitted == ["before"], "the state before the slow record")
    target.feed(record("slow", id=0), state("slow"), *orders(1, start=1), state("fast"))
    eventually(lambda: len(emulator.payloads(topic)) == 2, "the record after the slow one")
    eventually(lambda: len(target.emitted) > 1, "the states after the slow record")
    (request,) = emulator.requests(topic_id=slow)
    assert request.finished_at is not None
    eventually(lambda: target.emitted[-1] == "fast", "the newest state")
    assert len(emulator.payloads(slow)) == 1


def test_a_kill_before_an_entry_is_retried_duplicates_no_acknowledged_message(
    emulator, topic, start_target, run_target, tmp_path
):
    """The state that covers the others of its batch does not wait for the retry."""
    emulator.fault("entry_error", indices=[3])
    target = start_target(env=injected(tmp_path / "site", LONG_WAITS), batch_size_rows=4)
    target.feed(schema(), *orders(4, state_every=1))
    eventually(lambda: target.emitted == [2], "the state before the failed entry")
    target.kill()
    done = run_target(schema(), *orders(1, start=3), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == [0, 1, 2, 3]


def test_states_are_emitted_in_order_once_and_unchanged(run_target):
    """The newest is last, none is emitted twice, and every digit is preserved."""
    value = b'{"type":"STATE","value":{"at":1.10,"big":%b,"note":"\\u00e9"}}' % (b"9" * 30)
    done = run_target(
        schema(), *orders(50, state_every=1), state(49), state(49), value, value, batch_size_rows=10
    )
    emitted = [line["at"] for line in done.emitted_states[:-1]]
    assert emitted == sorted(set(emitted))
    assert emitted
    assert done.stdout.splitlines()[-1] == value[len(b'{"type":"STATE","value":') : -1]


def test_a_newer_state_does_not_interrupt_a_line_that_is_written_in_part(
    emulator, topic, target_config
):
    """If the reader is slow, states are replaced by newer ones, but each line is complete."""
    count = 60
    process = subprocess.Popen(
        command("target-workato-streams", "--config", target_config(batch_size_rows=1)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    with killed_at_end(process):
        assert process.stdin
        process.stdin.write(lines(schema()))
        for number in range(count):
            # Three of these fill a pipe.
            large = state([number, "x" * 20_000])
            process.stdin.write(lines(*orders(1, start=number), large))
        process.stdin.flush()
        eventually(lambda: len(emulator.messages(topic)) == count, "all records")
        process.stdin.close()
        process.stdin = None
        # At the end, too, the reader is waited for.
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
        stdout, _ = process.communicate(timeout=TIMEOUT_SECS)
        assert process.returncode == 0
    emitted = [json.loads(line)["at"][0] for line in stdout.splitlines()]
    assert emitted == sorted(set(emitted))
    assert emitted[-1] == count - 1
    assert len(emitted) < count


def test_no_state_covers_an_unacknowledged_record(emulator, run_target):
    emulator.fault("status", status=403, after=2, times=-1)
    done = run_target(schema(), *orders(50, state_every=5), batch_size_rows=10)
    assert done.exit_code == 1
    assert done.emitted_states[-1] == {"at": 19}


def test_a_null_state_is_ignored(run_target):
    """Some taps write one before they have a state."""
    done = run_target(b'{"type":"STATE","value":null}', schema(), *orders(1), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
