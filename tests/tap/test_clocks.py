"""With no clock to trust, neither `latest` nor the end of a run loses or cuts off messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tap_workato_streams.event_streams.consume import Message
from tap_workato_streams.reading.bookmarks import Page
from tap_workato_streams.reading.clock import RunClock

from tests.tap.in_process import read
from tests.tap.singer import consumed, ids
from tests.tap.times import ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

HOUR, DAY = 3_600.0, 86_400.0
# What the local clock, the Date header or both have wrong.
CLOCKS: dict[str, dict[str, Any]] = {
    "no date": {"date_header": False},
    "no date, local clock ahead": {"date_header": False, "clock_offset_secs": -HOUR},
    "no date, local clock behind": {"date_header": False, "clock_offset_secs": HOUR},
    "date a day behind": {"date_offset_secs": -DAY},
    "date a day ahead": {"date_offset_secs": DAY},
    "date an hour behind": {"date_offset_secs": -HOUR},
    "local clock a day behind": {"clock_offset_secs": DAY},
    "local clock a day ahead": {"clock_offset_secs": -DAY},
    "date and local clock behind": {"clock_offset_secs": 2 * HOUR, "date_offset_secs": -HOUR},
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("name", CLOCKS)
def test_latest_loses_nothing_and_reads_nothing_old(emulator: Emulator, name: str) -> None:
    """Messages between two runs are read by the second, and only they."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    last_ago = {"no date": 3 * DAY, "date a day behind": 20.0}.get(name, 5 * HOUR)
    times = [ago(last_ago + secs - offset) for secs in range(200, 0, -1)]
    emulator.load(topic, [{"old": n} for n in range(200)], times=times)
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    requests = len(emulator.requests())
    assert requests <= 30
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", ["no date, local clock ahead", "date a day ahead"])
def test_latest_of_an_empty_topic_loses_nothing(emulator: Emulator, name: str) -> None:
    """There is no message to name, and a timestamp in the future would skip messages."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", CLOCKS)
def test_a_run_is_not_cut_off(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """Everything that was there when it began is read, however old; one line warns."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    times = [ago(secs - offset) for secs in (5 * HOUR, 5 * HOUR, 1_800, 1_200, 600, 300, 5, 4, 3)]
    published = emulator.load(topic, [{} for _ in times], times=times)
    outcome = read(emulator, topics=[{"id": topic}], batch_size=2)
    assert ids(outcome) == published
    assert consumed(emulator)[-1]["after_message_id"] == published[-1]
    assert len(warnings(caplog)) == 1


def page(published: str, date: str) -> Page:
    """A page of one message, with this Date header."""
    from datetime import datetime  # noqa: PLC0415

    return Page([Message("A", b"{}", published)], datetime.fromisoformat(date))  # type: ignore[arg-type]


def test_the_date_header_decides_unless_a_message_proves_it_wrong() -> None:
    """A message that is minutes newer than the clock was not published in the future."""
    clock = RunClock()
    now, later = ago(0), ago(-60)
    assert not clock.started_before(later)
    clock.see(page(ago(HOUR), ago(0)))
    assert clock.started_before(later)
    clock.see(page(later, ago(0)))
    assert clock.started_before(later)
    clock = RunClock()
    clock.see(page(ago(HOUR), ago(2 * HOUR)))
    assert clock.started_before(later)
    assert not clock.started_before(ago(30))
    assert not clock.started_before(now)
