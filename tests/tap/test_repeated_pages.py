"""A run makes progress or ends: a service that repeats pages is an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tap_workato_streams.event_streams.errors import EventStreamsError

from tests.tap.in_process import read
from tests.tap.running import bookmark
from tests.tap.singer import ids
from tests.tap.times import ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.tap.conftest import RunTap


HOUR = 3_600


def page(*names: str) -> dict[str, Any]:
    """A page of messages with these ids."""
    time = ago(HOUR)
    return {"messages": [{"message_id": each, "payload": {}, "time": time} for each in names]}


def test_a_service_that_repeats_a_page_ends_the_run(emulator: Emulator, run_tap: RunTap) -> None:
    """A page whose last message is the cursor brings nothing new."""
    topic = emulator.create_topic()
    emulator.fault("garbage", body=page("A", "B"), times=-1)
    outcome = run_tap(topics=[topic])
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1): the service returned message B again after it was read" in line
    assert ids(outcome) == ["A", "B"]
    assert bookmark(outcome.states[-1], "topic_1") == "B"
    assert len(emulator.requests()) == 2


def test_latest_ends_where_a_service_repeats_a_page(emulator: Emulator) -> None:
    """The search for the latest message is a run of pages, too."""
    topic = emulator.create_topic()
    emulator.fault("garbage", body=page("A", "B"), times=-1)
    with pytest.raises(EventStreamsError, match="again after it was read"):
        read(emulator, topics=[{"id": topic}], start_from="latest")
    assert len(emulator.requests()) <= 5
