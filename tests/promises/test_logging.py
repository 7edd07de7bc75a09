"""What a run logs: little by default, and no payload, key value or token at any level."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.singer_lines import raw_record, schema, state
from tests.support.tap_output import ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator


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


def test_a_run_logs_starts_and_a_summary_per_topic(emulator, topics, run_tap):
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


def test_a_run_that_a_limit_ends_logs_how_far_the_topic_is_behind(topics, run_tap):
    """Its newest message was an hour old when it was read."""
    [match] = SUMMARY.findall(run_tap(topics=topics[:1], max_messages=50).stderr)
    assert match[4] == "1 h 0 min behind"


def test_a_run_of_many_pages_logs_no_more(emulator, topics, run_tap):
    """There is no line per request, page or STATE."""
    outcome = run_tap(topics=topics, batch_size=1, state_interval_secs=0.001)
    assert len(emulator.requests()) > 120
    assert len(outcome.states) > 3
    assert len(outcome.stderr.splitlines()) <= 9


def test_loglevel_info_logs_the_metrics_of_the_sdk(topics, run_tap):
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


def test_stdout_contains_only_singer_messages(topics, run_tap):
    """The log goes to stderr at every level."""
    outcome = run_tap(topics=topics, env={"LOGLEVEL": "DEBUG"})
    assert {message["type"] for message in outcome.messages} == {"SCHEMA", "RECORD", "STATE"}
    assert len(outcome.records()) == 121


DEBUG = {"TARGET_WORKATO_STREAMS_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
NOTE = 'Zoë\\said "no"'
SECRETS = {
    "key": "4711000815",
    "text": "confidential note",
    "escaped": json.dumps(NOTE)[1:-1],
    "unicode": NOTE,
    "nested": "31.41592",
}
RECORD = (
    b'{"id":4711000815,"note":"confidential note","more":[{"pi":31.41592},%b]}'
    % json.dumps(NOTE).encode()
)
SCHEMA = schema("orders", ("id",), id={"type": "integer"}, note={}, more={})
ECHO = " and ".join([RECORD.decode(), *SECRETS.values()])
RESPONSES: list[tuple[str, dict[str, Any]]] = [
    ("entry_error", {"indices": [0], "reason": ECHO}),
    ("status", {"status": 400, "body": json.dumps({"message": ECHO})}),
    ("status", {"status": 422, "body": json.dumps({"message": json.dumps(ECHO)})}),
    ("status", {"status": 403, "body": json.dumps({"error": ECHO})}),
    ("status", {"status": 500, "body": ECHO}),
    ("status", {"status": 200, "body": ECHO}),
]


@pytest.mark.parametrize(("kind", "options"), RESPONSES)
@pytest.mark.parametrize("on_rejected", ["fail", "dead_letter"])
def test_what_the_service_echoes_is_redacted(
    emulator, run_target, tmp_path, kind, options, on_rejected
):
    """Echoes may be JSON-escaped, also twice; the line and the stream identify the record."""
    emulator.fault(kind, times=-1, **options)
    done = run_target(
        SCHEMA,
        raw_record(RECORD),
        state("all"),
        env=DEBUG,
        max_retry_secs=0.3,
        on_rejected=on_rejected,
        dead_letter_path=str(tmp_path / "dead.jsonl"),
    )
    assert "orders" in done.stderr
    for name, secret in {**SECRETS, "token": emulator.token}.items():
        assert secret not in done.stderr, name


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_maps": {"orders": {"id": "id", "computed": "int(note)"}}},
        {"stream_maps": {"orders": {"id": "id", "__filter__": "note > 1"}}},
        {"validate_records": True},
        {"flattening_enabled": True, "flattening_max_depth": 2},
        {"payload_field": "note"},
        {"message_key_field": "note"},
        {"max_batch_bytes": 64},
        {"add_record_metadata": True},
    ],
)
def test_what_happens_to_a_record_is_logged_without_its_content(emulator, run_target, settings):
    """The traceback of a failure has no content either."""
    bad = SCHEMA.replace(b'"integer"', b'"boolean"') if "validate_records" in settings else SCHEMA
    done = run_target(bad, raw_record(RECORD), state("all"), env=DEBUG, **settings)
    for name, secret in {**SECRETS, "token": emulator.token}.items():
        assert secret not in done.stderr, name
