"""What the tests of `exactly_once` share: settings, lines, topics and kills."""

import json
from datetime import datetime, timedelta
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import Outcome
from tests.support.singer_lines import record
from tests.support.target import RunningTarget, RunTarget

EXACTLY_ONCE: dict[str, Any] = {"exactly_once": True, "message_key_field": "key"}
OURS = "target-workato-streams"
# The state of a first run.
NONE: dict[str, Any] = {"bookmarks": {}}


def state_line(**bookmarks: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A STATE line as SDK taps write it."""
    return json.dumps({"type": "STATE", "value": {"bookmarks": bookmarks}}).encode()


def returned(state: dict[str, Any], **bookmarks: Any) -> bytes:  # noqa: ANN401 - any JSON
    """A STATE line with what the tap was given, and its own new bookmarks."""
    return state_line(**{**state["bookmarks"], **bookmarks})


def replay(
    run_target: RunTarget,
    state: dict[str, Any],
    *fed: bytes,
    **settings: Any,  # noqa: ANN401 - settings are JSON
) -> Outcome:
    """Run the target with the state that a run has left, and one after the records; it succeeds."""
    count = sum(b'"RECORD"' in line for line in fed)
    given = [returned(state), *fed, returned(state, orders=count)]
    done = run_target(*given, **{**EXACTLY_ONCE, **settings})
    assert done.exit_code == 0, done.stderr
    return done


def rows(first: int, count: int) -> list[bytes]:
    """RECORD lines."""
    return [record(id=number) for number in range(first, first + count)]


def ids(emulator: Emulator, topic: int) -> list[int]:
    """The ids of the records in the topic, in order; other producers' messages have none."""
    return [payload["id"] for payload in emulator.payloads(topic) if "id" in payload]


def operations(emulator: Emulator) -> list[str]:
    """What was requested."""
    return [request.operation for request in emulator.requests()]


def publish_later(emulator: Emulator, *topics: int) -> None:
    """Let another producer publish messages during the next look-ups, which end with these.

    A look-up that finds messages of ours would wait 5 s for others that are readable late.
    """
    for topic in topics:
        emulator.load(topic, [{"of": "another producer"}], times=["2999-01-01T00:00:00Z"])


def killed(target: RunningTarget, emulator: Emulator) -> dict[str, Any]:
    """Kill a target; its last state, once the service is done with what it was sent."""
    state: dict[str, Any] = json.loads(target.kill().stdout.splitlines()[-1])
    emulator.wait_until_idle()
    return state


def warnings(done: Outcome) -> list[str]:
    """What the log warns of."""
    return [line for line in done.stderr.splitlines() if "WARNING" in line]


def made_older(state: dict[str, Any], topic: int) -> str:
    """Make a position 10 s older, as if the interrupted run had published so much later; its id."""
    position = state["bookmarks"][OURS][str(topic)]
    time = datetime.fromisoformat(position["message_time"]) - timedelta(seconds=10)
    position["message_time"] = time.isoformat()
    return str(position["message_id"])
