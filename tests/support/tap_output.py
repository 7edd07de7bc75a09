"""What must be true of every output of the tap, and of its requests."""

from datetime import datetime, timedelta, timezone
from typing import Any

import msgspec
from workato_streams_emulator import Emulator, LoggedRequest

from tests.support.executables import Outcome
from tests.support.running import eventually
from tests.support.tap import bookmark

State = dict[str, Any]


def ids(outcome: Outcome, stream: str | None = None) -> list[str]:
    """Return the message ids of the records of a stream, or of all, in output order."""
    return [record["message_id"] for record in outcome.records(stream)]


def consumed(emulator: Emulator, topic_id: int | None = None) -> list[dict[str, Any]]:
    """Return the bodies of the consume requests of a topic, or of all, in order."""
    logged = emulator.requests(operation="consume", topic_id=topic_id)
    return [msgspec.json.decode(request.body) for request in logged]


def assert_states_are_true(outcome: Outcome, given: State | None = None) -> None:
    """Each STATE line covers what was given or records that stand before it, and none goes back.

    Of an expired bookmark, only the time remains if the topic is empty.
    """
    written: dict[str, list[str | None]] = {}
    reached: dict[str, int] = {}
    for message in outcome.messages:
        if message["type"] == "SCHEMA":
            written[message["stream"]] = [bookmark(given or {}, message["stream"])]
        elif message["type"] == "RECORD":
            written[message["stream"]].append(message["record"]["message_id"])
        elif message["type"] == "STATE":
            for stream, before in written.items():
                at, time = bookmark(message["value"], stream), _time(message["value"], stream)
                is_kept = at is None and time == _time(given or {}, stream)
                place = 0 if is_kept else before.index(at)
                assert place >= reached.get(stream, 0), f"{stream} went back: {message}"
                reached[stream] = place


def _time(state: State, stream: str) -> str | None:
    time: str | None = state.get("bookmarks", {}).get(stream, {}).get("message_time")
    return time


def polling(emulator: Emulator) -> list[LoggedRequest]:
    """Return the long polls that the service has not responded to yet."""
    return [
        request
        for request in emulator.requests(operation="consume")
        if request.finished_at is None and b"timeout_secs" in request.body
    ]


def await_polls(emulator: Emulator, count: int = 1) -> None:
    """Wait until this many long polls are open."""
    eventually(lambda: len(polling(emulator)) == count, f"{count} open long polls")


def ago(secs: float) -> str:
    """Return the time this many seconds ago by the local clock."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=secs)
    return moment.isoformat(timespec="milliseconds")


def all_ago(secs: float, count: int) -> list[str]:
    """Return the same time for each of this many messages."""
    return [ago(secs)] * count
