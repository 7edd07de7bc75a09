"""`latest` and the end of a run neither lose nor cut off messages, whatever the clocks say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.tap.in_process import read
from tests.tap.singer import consumed, ids
from tests.tap.times import ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

HOUR, DAY = 3_600.0, 86_400.0
# The service's clock against the local one.
CLOCKS: dict[str, dict[str, Any]] = {
    "no date": {"date_header": False},
    "no date, local clock ahead": {"date_header": False, "clock_offset_secs": -HOUR},
    "no date, local clock behind": {"date_header": False, "clock_offset_secs": HOUR},
    "local clock a day behind": {"clock_offset_secs": DAY},
    "local clock a day ahead": {"clock_offset_secs": -DAY},
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("name", CLOCKS)
def test_latest_loses_nothing_and_reads_nothing_old(emulator: Emulator, name: str) -> None:
    """Messages between two runs are read by the second, and only they."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    last_ago = 3 * DAY if name == "no date" else 5 * HOUR
    times = [ago(last_ago + secs - offset) for secs in range(200, 0, -1)]
    emulator.load(topic, [{"old": n} for n in range(200)], times=times)
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    requests = len(emulator.requests())
    assert requests <= 30
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", ["no date, local clock ahead", "local clock a day ahead"])
def test_latest_of_an_empty_topic_loses_nothing(emulator: Emulator, name: str) -> None:
    """There is no message to name, and a timestamp in the future would skip messages."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", [name for name in CLOCKS if "date, local" not in name])
def test_a_run_is_not_cut_off(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Everything that was there when it began is read, however old."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    times = [ago(secs - offset) for secs in (5 * HOUR, 5 * HOUR, 1_800, 1_200, 600, 300, 5, 4, 3)]
    published = emulator.load(topic, [{} for _ in times], times=times)
    outcome = read(emulator, topics=[{"id": topic}], batch_size=2)
    assert ids(outcome) == published
    assert consumed(emulator)[-1]["after_message_id"] == published[-1]
    assert len(warnings(caplog)) == (name == "no date")
