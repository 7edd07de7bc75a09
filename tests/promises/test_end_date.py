"""A run with `end_date` reads up to this time and ends; a later run continues from there."""

from itertools import pairwise
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.tap import bookmark
from tests.support.tap_output import ago, assert_states_are_true, consumed, ids

HOUR = 3_600


@pytest.fixture
def published(emulator: Emulator) -> list[str]:
    """Topic 1 with a message per hour, the newest of which is an hour old."""
    topic = emulator.create_topic()
    times = [ago(HOUR * n) for n in range(8, 0, -1)]
    return emulator.load(topic, [{"n": n} for n in range(8)], times=times)


@pytest.mark.parametrize(("batch_size", "level"), [(1, "run"), (3, "run"), (50, "topic")])
def test_a_run_ends_at_the_end_date_and_a_later_run_continues(
    emulator, run_tap, published, batch_size, level
):
    end = {"end_date": ago(HOUR * 3.5)}
    settings: dict[str, Any] = {"topics": [{"id": 1}], **end}
    if level == "topic":
        settings = {"topics": [{"id": 1, **end}], "end_date": ago(HOUR * 6)}

    first = run_tap(batch_size=batch_size, **settings)
    again = run_tap(state=first.states[-1], batch_size=batch_size, **settings)
    rest = run_tap(topics=[1], state=again.states[-1])

    assert (first.exit_code, first.error_lines) == (0, [])
    assert ids(first) == published[:5]
    assert bookmark(first.states[-1], "topic_1") == published[4]
    assert f"reading up to {end['end_date']} (end_date)" in first.stderr
    assert ", read to the end" in first.stderr
    assert ids(again) == []
    assert again.states[-1] == first.states[-1]
    assert ids(rest) == published[5:]
    assert_states_are_true(first)
    assert all("end_date" not in body for body in consumed(emulator))


def test_start_date_and_end_date_read_a_range(run_tap, published):
    dates = [ago(HOUR * secs) for secs in (7.5, 4.5, 1.5)]
    ranges = [
        ids(run_tap(topics=[1], start_date=start, end_date=end)) for start, end in pairwise(dates)
    ]
    assert ranges == [published[1:4], published[4:7]]


def test_a_message_of_the_end_date_itself_is_read(emulator, topic, run_tap):
    """`start_date` excludes it, so a range that begins there does not contain it again."""
    times = [ago(300), ago(200), ago(100)]
    loaded = emulator.load(topic, [{}, {}, {}], times=times)
    assert ids(run_tap(topics=[topic], end_date=times[1])) == loaded[:2]
    assert ids(run_tap(topics=[topic], start_date=times[1])) == loaded[2:]


def test_a_range_without_messages_leaves_no_bookmark(run_tap, published):
    start = ago(HOUR * 5.75)
    run = run_tap(topics=[1], start_date=start, end_date=ago(HOUR * 5.25))
    assert (run.exit_code, ids(run)) == (0, [])
    state = run.states[-1] if run.states else None
    later = run_tap(topics=[1], start_date=start, state=state)
    assert ids(later) == published[3:]


NEW_YEAR = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"end_date": "yesterday"}, "end_date: must be a date or time"),
        ({"end_date": NEW_YEAR, "start_date": NEW_YEAR}, "end_date: must be after start_date"),
        (
            {"topics": [{"id": 1, "end_date": "2025-01-01T00:00:00Z"}], "start_date": NEW_YEAR},
            "topics[0].end_date: must be after start_date",
        ),
        (
            {"end_date": NEW_YEAR, "tail": True},
            "end_date: cannot be combined with tail, which has no end",
        ),
    ],
)
def test_an_end_that_cannot_be_reached_is_rejected(emulator, run_tap, settings, line):
    run = run_tap(**{"topics": [1], **settings})
    assert run.exit_code == 1
    assert [line in each for each in run.error_lines] == [True, False]
    assert "Config validation failed" in run.error_lines[1]
    assert emulator.requests() == []


def test_what_max_messages_cuts_is_not_read_to_the_end(run_tap, published):
    """Although the page also has messages after `end_date`."""
    outcome = run_tap(topics=[1], end_date=ago(HOUR * 3.5), max_messages=2)
    assert ids(outcome) == published[:2]
    assert "read to the end" not in outcome.stderr
