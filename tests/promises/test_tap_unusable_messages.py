"""Whatever the service sends as `time`, the tap emits what it accepts; no message makes it loop."""

from typing import Any

import pytest

from tests.support.tap import bookmark
from tests.support.tap_output import ago, consumed, ids

TIMES = [
    *("", "soon", 1_700_000_000, None, "2026-01-31", "2026-01-31T00:00:00"),
    *("9999-12-31T23:59:59.999-01:00", "9999-12-31T00:00:00Z", "0001-01-01T00:00:00+14:00"),
]


def page(*messages: dict[str, Any]) -> dict[str, Any]:
    return {"messages": [{"payload": {"n": 1}, **message} for message in messages]}


@pytest.mark.parametrize(
    ("time", "settings"),
    [
        *((time, {}) for time in TIMES),
        ("soon", {"record_format": "unpacked"}),
        ("soon", {"max_messages": 1}),
    ],
    ids=repr,
)
def test_an_unusable_time_becomes_null(emulator, topic, run_tap, time, settings):
    [stored] = emulator.load(topic, [{"n": 1}], times=[ago(60)])
    odd = page({"message_id": stored, "time": time})
    # A sample takes two more requests.
    emulator.fault("garbage", body=odd, times=3 if "record_format" in settings else 1)

    first = run_tap(topics=[topic], **settings)

    assert (first.exit_code, first.error_lines) == (0, [])
    [record] = first.records()
    assert (record["message_id"], record["time"]) == (stored, None)
    [warning] = [line for line in first.stderr.splitlines() if "so it becomes null" in line]
    assert f"topic_1 (topic 1): the time of message {stored} is not RFC 3339" in warning
    assert bookmark(first.states[-1], "topic_1") == stored
    emulator.clear_requests()
    second = run_tap(topics=[topic], state=first.states[-1], **settings)
    assert (second.exit_code, ids(second)) == (0, [])
    assert consumed(emulator)[0]["after_message_id"] == stored


def test_a_message_without_a_time_is_emitted(emulator, topic, run_tap):
    time = ago(60)
    body = page({"message_id": "A"}, {"message_id": "B", "time": time})
    emulator.fault("garbage", body=body)
    emulator.fault("garbage", body=page(), times=-1)
    run = run_tap(topics=[topic])
    assert [record["time"] for record in run.records()] == [None, time]


def test_a_message_with_an_empty_id_is_an_error(emulator, topic, run_tap):
    """The next request would begin at the earliest message again, in an endless run."""
    emulator.fault("garbage", body=page({"message_id": "", "time": ago(60)}), times=-1)
    run = run_tap(topics=[topic])
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "topic_1 (topic 1): a message has an empty message_id" in line
    assert len(emulator.requests()) == 1
