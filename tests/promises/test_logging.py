"""What a run logs: little by default, and no payload, key value or token at any level."""

import json
import re
import signal

import pytest

from tests.support.injection import injected
from tests.support.singer_lines import raw_record, schema, state
from tests.support.tap_output import all_ago, await_polls

SUMMARY = re.compile(
    r"INFO .*topic_(\d) \(topic \1\): (\d+) messages?, (\d+) requests?, \d+\.\d s"
    r"(?:, newest from (\S+), (1 h 0 min behind|read to the end))?$",
    re.MULTILINE,
)


@pytest.fixture
def topics(emulator):
    """Three topics with 120, 1 and no messages of an hour ago."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    for topic, count in zip(topics, (120, 1, 0), strict=True):
        emulator.load(topic, [{"n": n} for n in range(count)], times=all_ago(3_600, count))
    return topics


def test_a_run_logs_starts_and_a_summary_per_topic(emulator, topics, run_tap):
    """The summary has messages, requests, seconds, the time of the newest message and the lag.

    The lag of a topic that was read to its end is not the age of its newest message.
    """
    outcome = run_tap(topics=topics)
    newest = [emulator.messages(topic)[-1].time for topic in topics[:2]]
    assert SUMMARY.findall(outcome.stderr) == [
        ("1", "120", "4", newest[0], "read to the end"),
        ("2", "1", "2", newest[1], "read to the end"),
        ("3", "0", "1", "", ""),
    ]
    # The rest: two lines of the SDK, one of the run, and one for the start of each topic.
    assert len(outcome.stderr.splitlines()) <= 9


def test_a_run_that_a_limit_ends_logs_how_far_the_topic_is_behind(topics, run_tap):
    [match] = SUMMARY.findall(run_tap(topics=topics[:1], max_messages=50).stderr)
    assert match[4] == "1 h 0 min behind"


def test_a_topic_whose_long_poll_waits_is_not_behind(emulator, topics, start_tap, tmp_path):
    """The service would respond at once if there were messages."""
    sooner = "from tap_workato_streams.output import summary; summary.LONG_POLL_SECS = 0.0"
    tail = start_tap(topics=topics[:1], tail=True, env=injected(tmp_path / "site", sooner))
    await_polls(emulator)
    tail.send(signal.SIGTERM)
    [match] = SUMMARY.findall(tail.end().stderr)
    assert match[4] == "read to the end"


def test_a_run_of_many_pages_logs_no_more(emulator, topics, run_tap):
    """There is no line per request, page or STATE."""
    outcome = run_tap(topics=topics, batch_size=1, state_interval_secs=0.001)
    assert len(emulator.requests()) > 120
    assert len(outcome.states) > 3
    assert len(outcome.stderr.splitlines()) <= 9


DEBUG = {"TARGET_WORKATO_STREAMS_LOGLEVEL": "DEBUG", "LOGLEVEL": "DEBUG"}
NOTE = 'Zoë\\said "no"'
SECRETS = ["4711000815", "confidential note", json.dumps(NOTE)[1:-1], NOTE, "31.41592"]
RECORD = (
    b'{"id":4711000815,"note":"confidential note","more":[{"pi":31.41592},%b]}'
    % json.dumps(NOTE).encode()
)
SCHEMA = schema("orders", ("id",), id={"type": "integer"}, note={}, more={})
ECHO = " and ".join([RECORD.decode(), *SECRETS])


@pytest.mark.parametrize(
    ("dead_letter_path", "kind", "options"),
    [
        ("", "entry_error", {"reason": ECHO}),
        ("dead.jsonl", "entry_error", {"reason": ECHO}),
        ("", "status", {"status": 400, "body": json.dumps({"message": ECHO})}),
        (
            "dead.jsonl",
            "status",
            {"status": 422, "body": json.dumps({"message": json.dumps(ECHO)})},
        ),
        ("", "status", {"status": 403, "body": json.dumps({"error": ECHO})}),
        ("", "status", {"status": 500, "body": ECHO}),
        ("", "status", {"status": 200, "body": ECHO}),
    ],
)
def test_what_the_service_echoes_is_redacted(
    emulator, run_target, tmp_path, dead_letter_path, kind, options
):
    """Echoes may be JSON-escaped, also twice; the line and the stream identify the record."""
    emulator.fault(kind, times=-1, indices=[0], **options)
    done = run_target(
        SCHEMA,
        raw_record(RECORD),
        state("all"),
        env=DEBUG,
        max_retry_secs=1,
        dead_letter_path=dead_letter_path and str(tmp_path / dead_letter_path),
    )
    assert "orders" in done.stderr
    assert [secret for secret in [*SECRETS, emulator.token] if secret in done.stderr] == []


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_maps": {"orders": {"id": "id", "computed": "int(note)"}}},
        {"stream_maps": {"orders": {"id": "id", "__filter__": "note > 1"}}},
        {"flattening_enabled": True, "flattening_max_depth": 2},
        {"payload_field": "note"},
        {"message_key_field": "note"},
        {"add_record_metadata": True},
    ],
)
def test_what_happens_to_a_record_is_logged_without_its_content(emulator, run_target, settings):
    done = run_target(SCHEMA, raw_record(RECORD), state("all"), env=DEBUG, **settings)
    assert [secret for secret in [*SECRETS, emulator.token] if secret in done.stderr] == []
