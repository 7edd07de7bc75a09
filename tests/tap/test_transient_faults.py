"""Transient faults, wherever they occur, are retried, and each message is emitted once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.tap.running import bookmark
from tests.tap.singer import assert_states_are_true, consumed, ids

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.tap.conftest import RunTap

STATUSES = (408, 425, 429, 500, 503, 504)
FAULTS: dict[str, dict[str, Any]] = {
    **{str(status): {"kind": "status", "status": status} for status in STATUSES},
    # A gateway responds with HTML.
    "502": {
        "kind": "status",
        "status": 502,
        "body": "<html>Bad gateway</html>",
        "headers": {"content-type": "text/html"},
    },
    **{
        kind: {"kind": kind}
        for kind in ("reset", "reset_after", "cut", "cut_json", "html", "garbage")
    },
    "other JSON": {"kind": "garbage", "body": {"error": "none", "messages": [{"id": 1}]}},
    "not UTF-8": {
        "kind": "garbage",
        "body": b'{"messages":[{"message_id":"A","payload":{"x":"\xff"},"time":"T"}]}',
    },
    "no body": {"kind": "garbage", "body": ""},
    "stall": {"kind": "stall", "secs": 60},
}
# Read in pages of 10, 25 messages are four requests: the last finds that nothing is left.
MESSAGES, PAGE, REQUESTS = 25, 10, 4
POSITIONS = {"first": 0, "middle": 2, "last": 3}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_at_the_first_the_middle_and_the_last_request(
    emulator: Emulator, run_tap: RunTap, fault: dict[str, Any]
) -> None:
    """Three topics are read concurrently, each with the fault at another request."""
    published = {}
    for topic, position in enumerate(POSITIONS.values(), start=1):
        emulator.create_topic(f"topic {topic}", id=topic)
        published[topic] = emulator.load(topic, [{"n": n} for n in range(MESSAGES)])
        emulator.fault(topic_id=topic, after=position, **fault)
    # No other request may time out, even on a busy machine.
    timeout_secs = 2 if fault["kind"] == "stall" else 30
    outcome = run_tap(topics=[1, 2, 3], batch_size=PAGE, request_timeout_secs=timeout_secs)
    assert outcome.exit_code == 0
    for topic, messages in published.items():
        assert ids(outcome, f"topic_{topic}") == messages
        assert bookmark(outcome.states[-1], f"topic_{topic}") == messages[-1]
        position = list(POSITIONS.values())[topic - 1]
        asked = consumed(emulator, topic)
        assert len(asked) == REQUESTS + 1
        assert asked[position] == asked[position + 1]
        logged = [line for line in outcome.stderr.splitlines() if f"(topic {topic})" in line]
        assert sum("retrying in" in line for line in logged) == 1
    assert outcome.error_lines == []
    assert_states_are_true(outcome)


def test_many_faults_one_after_another(emulator: Emulator, run_tap: RunTap) -> None:
    """With a fault at every fifth request, each message is emitted once, in order."""
    kinds = ("reset", "reset_after", "cut", "cut_json", "html", "garbage")
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(len(kinds) * 5)])
    for number, kind in enumerate(kinds):
        emulator.fault(kind, after=number * 5 + 2)
    outcome = run_tap(topics=[topic], batch_size=1)
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert outcome.stderr.count("retrying in") == len(kinds)
    assert_states_are_true(outcome)


def test_a_slow_response_is_waited_for(emulator: Emulator, run_tap: RunTap) -> None:
    """A response within `request_timeout_secs` is not requested twice."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": 1}])
    emulator.fault("latency", secs=1.0)
    outcome = run_tap(topics=[topic], request_timeout_secs=10)
    assert ids(outcome) == published
    assert len(emulator.requests()) == 2


def test_a_reset_and_a_503_in_a_row_are_retried(emulator: Emulator, run_tap: RunTap) -> None:
    """The session and the page are the same."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(3)])
    emulator.fault("reset")
    emulator.fault("status", status=503, after=1)
    outcome = run_tap(topics=[topic])
    assert ids(outcome) == published
    assert [request.status for request in emulator.requests()] == [None, 503, 200, 200]
