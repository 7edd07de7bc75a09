"""A run logs its progress: a line per minute, a line per topic at the end, metrics."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from target_workato_streams.publishing import summary
from target_workato_streams.publishing.summary import Summary, Tally

from tests.target.singer import orders, record, schema

if TYPE_CHECKING:
    import pytest
    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget


def test_a_long_run_logs_a_progress_line_per_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The line sums up all topics; the first one comes after a minute, and none comes twice."""
    clock = iter([1000.0, 1059.0, 1060.0, 1061.0, 1119.0, 1121.0])
    monkeypatch.setattr(summary, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    tallies = {"a": Tally(published=3, requests=1), "b": Tally(published=4, requests=2)}
    reporter = Summary(lambda: tallies)
    with caplog.at_level(logging.INFO, "target-workato-streams"):
        for _ in range(5):
            reporter.progress()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["After 60 s", "After 121 s"]
    assert "7 published" in lines[0]
    assert "3 requests" in lines[0]


def test_each_topic_has_one_summary_line(
    emulator: Emulator, topic: int, run_target: RunTarget
) -> None:
    """The line counts messages by outcome, requests, bytes and seconds."""
    other = emulator.create_topic("other")
    emulator.fault("reset_after", topic_id=other)
    done = run_target(
        schema(), schema("b"), *orders(3), record("b", id=1), topics={"b": other, "orders": topic}
    )
    lines = [line for line in done.stderr.splitlines() if " published, " in line]
    assert len(lines) == 2
    size = len(b'{"payloads":[{"id": 0},{"id": 1},{"id": 2}]}')
    counts = "3 published, 0 dead letters, 0 resent, 0 possibly duplicated, 1 request"
    assert f"orders (topic {topic}): {counts}, {size} bytes" in lines[0]
    counts = "1 published, 0 dead letters, 1 resent, 1 possibly duplicated, 2 requests"
    assert f"b (topic {other}): {counts}" in lines[1]


def test_the_sdk_metrics_count_the_acknowledged_records_of_each_stream(
    run_target: RunTarget,
) -> None:
    """Decoded records count like others."""
    choices: list[dict[str, Any]] = [{}, {"validate_records": True}]
    for settings in choices:
        done = run_target(schema(), schema("b"), *orders(3), record("b", id=1), **settings)
        points = [
            json.loads(line.split("METRIC: ")[1])
            for line in done.stderr.splitlines()
            if "METRIC: " in line
        ]
        counts = {p["tags"]["stream"]: p["value"] for p in points if p["metric"] == "record_count"}
        assert counts == {"orders": 3, "b": 1}
        assert len(points) == 2
