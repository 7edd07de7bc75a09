"""What a run logs: little by default, and the SDK's metrics on request."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from tests.tap.times import ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.tap.conftest import RunTap

SUMMARY = re.compile(
    r"INFO .*topic_(\d) \(topic \1\): (\d+) messages?, (\d+) requests?, \d+\.\d s"
    r"(?:, newest from (\S+), (1 h 0 min behind|read to the end))?$",
    re.MULTILINE,
)


@pytest.fixture
def topics(emulator: Emulator) -> list[int]:
    """Three topics with 120, 1 and no messages of an hour ago."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    for topic, count in zip(topics, (120, 1, 0), strict=True):
        emulator.load(topic, [{"n": n} for n in range(count)], times=[ago(3_600)] * count)
    return topics


def test_a_run_logs_starts_and_a_summary_per_topic(
    emulator: Emulator, topics: list[int], run_tap: RunTap
) -> None:
    """The summary has messages, requests, seconds, the time of the newest message and the lag.

    The lag of a topic that was read to its end is not the age of its newest message.
    """
    outcome = run_tap(topics=topics)
    lines = outcome.stderr.splitlines()
    summaries = [match for line in lines if (match := SUMMARY.search(line))]
    found = {int(match[1]): (int(match[2]), int(match[3])) for match in summaries}
    assert found == {topics[0]: (120, 4), topics[1]: (1, 2), topics[2]: (0, 1)}
    assert len(summaries) == 3
    for match in summaries[:2]:
        assert match[4] == emulator.messages(int(match[1]))[-1].time
        assert match[5] == "read to the end"
    assert summaries[2][4] is None
    # The rest: two lines of the SDK, one of the run, and one for the start of each topic.
    assert len(lines) <= 9


def test_a_run_that_a_limit_ends_logs_how_far_the_topic_is_behind(
    topics: list[int], run_tap: RunTap
) -> None:
    """Its newest message was an hour old when it was read."""
    [match] = SUMMARY.findall(run_tap(topics=topics[:1], max_messages=50).stderr)
    assert match[4] == "1 h 0 min behind"


def test_a_run_of_many_pages_logs_no_more(
    emulator: Emulator, topics: list[int], run_tap: RunTap
) -> None:
    """There is no line per request, page or STATE."""
    outcome = run_tap(topics=topics, batch_size=1, state_interval_secs=0.001)
    assert len(emulator.requests()) > 120
    assert len(outcome.states) > 3
    assert len(outcome.stderr.splitlines()) <= 9


def test_loglevel_info_logs_the_metrics_of_the_sdk(topics: list[int], run_tap: RunTap) -> None:
    """Each stream has its record count and its duration."""
    outcome = run_tap(topics=topics, env={"LOGLEVEL": "INFO"})
    metrics = [
        json.loads(line[line.index("{") :])
        for line in outcome.stderr.splitlines()
        if "METRIC: {" in line
    ]
    for topic, count in zip(topics, (120, 1, 0), strict=True):
        own = [metric for metric in metrics if metric["tags"]["stream"] == f"topic_{topic}"]
        counted = [metric["value"] for metric in own if metric["metric"] == "record_count"]
        assert sum(counted) == count
        assert "sync_duration" in {metric["metric"] for metric in own}


def test_stdout_contains_only_singer_messages(topics: list[int], run_tap: RunTap) -> None:
    """The log goes to stderr at every level."""
    outcome = run_tap(topics=topics, env={"LOGLEVEL": "DEBUG"})
    assert {message["type"] for message in outcome.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert len(outcome.records()) == 121
