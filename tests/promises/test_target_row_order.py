"""A topic never ends with an older version of a row than it had, whatever entries fail."""

from typing import Any

import pytest

from tests.support.running import eventually
from tests.support.singer_lines import record, schema, state
from tests.support.target import dead_letters_in

# The rows of the records of a batch, the entries that fail in each request (-1: the request is
# rejected), and the records in the topic, by their numbers from 1.
CASES: list[tuple[str, list[list[int]], list[int]]] = [
    ("rr", [[0]], [2, 1, 2]),
    ("rsr", [[0]], [2, 3, 1, 3]),
    ("rrr", [[0]], [2, 3, 1, 3]),
    ("rrr", [[1]], [1, 3, 2, 3]),
    ("rrr", [[2]], [1, 2, 3]),
    ("rrr", [[0, 2]], [2, 1, 3]),
    ("rrr", [[0, 2], [1]], [2, 1, 3]),
    ("rrr", [[0, 2], [0]], [2, 3, 1, 3]),
    ("rs", [[0]], [2, 1]),
    ("rsrs", [[0, 1]], [3, 4, 1, 2, 3, 4]),
    ("rr", [[0], [], [0]], [2, 1, 2]),
    ("rr", [[-1]], [1, 2]),
    ("rsrsxr", [[0, 1, 5], [0, 1]], [3, 4, 5, 6, 1, 2, 4, 6]),
    # The second version is still retried when the first message is rejected.
    ("srr", [[0, 1], [-1], [-1]], [3, 2, 3]),
]


def test_the_newest_version_is_published_once_more_behind_a_retried_one(
    emulator, run_target, tmp_path
):
    """A version is published again only if the retried one is older, and only once."""
    topics, fed = {}, []
    for rows, failing, _ in CASES:
        stream = f"{rows} {failing}"
        topics[stream] = topic = emulator.create_topic(stream)
        for request, indices in enumerate(failing):
            fault: dict[str, Any] = {"kind": "entry_error", "indices": indices}
            if indices == [-1]:
                fault = {"kind": "status", "status": 422}
            emulator.fault(topic_id=topic, after=request, **fault)
        fed += [schema(stream, id={}), *(record(stream, id=r, n=n) for n, r in enumerate(rows, 1))]
    done = run_target(*fed, state("all"), topics=topics, **dead_letters_in(tmp_path / "dead"))
    assert (done.exit_code, done.emitted_states[-1:]) == (0, [{"at": "all"}])
    published = [[p["n"] for p in emulator.payloads(topic)] for topic in topics.values()]
    assert published == [expected for _, _, expected in CASES]


@pytest.mark.parametrize(("other", "keys"), [("others", ("id",)), ("orders", ())])
def test_other_streams_and_records_without_a_key_are_no_versions_of_a_row(
    emulator, topic, run_target, other, keys
):
    """They are never published twice."""
    emulator.fault("entry_error", indices=[0])
    fed = [schema(keys=keys), schema(other, keys), record(id=1, n=1), record(other, id=1, n=2)]
    assert run_target(*fed).exit_code == 0
    assert [payload["n"] for payload in emulator.payloads(topic)] == [2, 1]


def test_an_acknowledgement_waits_for_older_versions_only(emulator, topic, start_target):
    """The state after the old version is emitted while the new one is still retried."""
    emulator.fault("entry_error", indices=[1])
    emulator.fault("stall", secs=600, after=1)
    target = start_target(batch_size_rows=2)
    target.feed(schema(v={"type": "string"}))
    target.feed(record(id=1, v="old"), state("old"), record(id=1, v="new"), state("new"))
    eventually(lambda: target.emitted == ["old"], "the state of the old version")
    assert [p["v"] for p in emulator.payloads(topic)] == ["old"]


def test_the_row_of_a_message_is_that_of_its_stream_map(emulator, topic, run_target):
    """A stream map changes the key: records of different ids are versions of one row."""
    emulator.fault("entry_error", indices=[0])
    sent = [record(id=1, group="g", v="old"), record(id=2, group="g", v="new")]
    described = schema(id={}, group={}, v={})
    maps = {"orders": {"__key_properties__": ["group"]}}
    done = run_target(described, *sent, state("all"), stream_maps=maps)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [p["v"] for p in emulator.payloads(topic)] == ["new", "old", "new"]


def test_a_row_is_in_order_when_a_rejected_version_ends_the_run(emulator, topic, run_target):
    """The acknowledged versions before it are covered by the state."""
    for request, fault in enumerate(["status", "entry_error", None, "status", "status"]):
        if fault is not None:
            status = {"status": 422} if fault == "status" else {"indices": [0]}
            emulator.fault(fault, after=request, **status)
    sent = [record(id=1, n=1), record(id=1, n=2), state(2), record(id=1, n=3), record(id=1, n=4)]
    done = run_target(schema(n={}), *sent, state(4))
    assert (done.exit_code, done.emitted_states) == (1, [{"at": 2}])
    assert [payload["n"] for payload in emulator.payloads(topic)] == [2, 1, 4]
