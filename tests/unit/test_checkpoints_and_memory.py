"""Which state a checkpoint allows, and how much memory what is waited for counts as."""

from hypothesis import given
from hypothesis import strategies as st
from target_workato_streams.delivery.checkpoints import CheckpointTracker
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.publishing.topic_producer import BatchQueue
from target_workato_streams.singer_messages import Record, Stream

RECORD = Record(Stream("orders"), b"{}", 1)


@given(st.lists(st.sampled_from(["record", "state"]), max_size=40), st.randoms())
def test_the_newest_covered_state_is_emitted_whatever_the_order_of_acknowledgements(events, chance):
    """After each acknowledgement, no state precedes its records, and none is late."""
    tracker = CheckpointTracker()
    unacknowledged: list[tuple[int, int]] = []
    states = []
    for number, event in enumerate(events):
        if event == "state":
            tracker.add_state(b"%d" % number)
            states.append(number)
        else:
            tracker.add_record(number + 1)
            unacknowledged.append((number, number + 1))
    emitted = -1

    def newest() -> int:
        first_unacknowledged = min((number for number, _ in unacknowledged), default=len(events))
        return max((number for number in states if number < first_unacknowledged), default=-1)

    def taken() -> int:
        state = tracker.pop_state()
        return emitted if state is None else int(state)

    emitted = max(emitted, taken())
    assert emitted == newest()
    chance.shuffle(unacknowledged)
    while unacknowledged:
        _, sequence = unacknowledged.pop()
        tracker.settle([sequence])
        assert tracker.unsettled == len(unacknowledged)
        emitted = max(emitted, taken())
        assert emitted == newest()


def test_a_slow_topic_does_not_accumulate_checkpoints():
    """While one record is unacknowledged, complete checkpoints after it are merged."""
    tracker = CheckpointTracker()
    tracker.add_record(1)
    for number in range(1000):
        tracker.add_state(b"%d" % number)
        tracker.add_record(number + 2)
        tracker.settle([number + 2])
    assert len(tracker.checkpoints) <= 3
    assert tracker.pop_state() is None
    tracker.settle([1])
    assert tracker.pop_state() == b"999"


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
