"""Failures are one line with topic, status, cause and remedy, and exit code 1."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from workato_streams_emulator import Emulator

from tests.tap.running import bookmark
from tests.tap.singer import ids

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tap.conftest import RunTap

SECRET = "secret-of-a-publisher"


@pytest.fixture
def topic(emulator: Emulator) -> int:
    """A topic with a few messages."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"text": SECRET, "n": n} for n in range(5)])
    return topic


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Emulator]:
    """Another server, which must not receive anything."""
    with Emulator.start() as other:
        yield other


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "check the settings"),
        (401, "check api_token"),
        (403, "give the API client of api_token access"),
        (404, "check the topic id"),
        (451, "check the settings"),
    ],
)
def test_a_rejection_is_one_request_and_one_line(
    emulator: Emulator, topic: int, run_tap: RunTap, status: int, advice: str
) -> None:
    """The line names the topic, the status, the service's reason and the remedy."""
    emulator.fault("status", status=status, body={"message": "In its own words"}, times=-1)
    outcome = run_tap(topics=[{"id": topic, "name": "orders"}])
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == 1
    [line] = outcome.error_lines
    for part in (f"orders (topic {topic})", str(status), "In its own words", advice):
        assert part in line
    assert "Traceback" not in outcome.stderr
    assert outcome.records() == []


def test_a_topic_that_does_not_exist(emulator: Emulator, run_tap: RunTap) -> None:
    """The service's own 404, not an injected one."""
    outcome = run_tap(topics=[77])
    assert outcome.exit_code == 1
    assert [request.status for request in emulator.requests()] == [404]
    [line] = outcome.error_lines
    assert "topic_77 (topic 77)" in line


def test_an_unknown_token(emulator: Emulator, topic: int, run_tap: RunTap) -> None:
    """One request, and the token is not shown."""
    outcome = run_tap(topics=[topic], api_token="a-wrong-token", env={"LOGLEVEL": "DEBUG"})
    assert outcome.exit_code == 1
    assert [request.status for request in emulator.requests()] == [401]
    assert "api_token" in outcome.error_lines[0]
    assert "a-wrong-token" not in outcome.stderr


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(
    emulator: Emulator, elsewhere: Emulator, topic: int, run_tap: RunTap, status: int
) -> None:
    """The token is sent only to the host in the settings."""
    emulator.fault("redirect", status=status, location=f"{elsewhere.url}/api/v1/", times=-1)
    outcome = run_tap(topics=[topic])
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == 1
    assert elsewhere.requests() == []
    [line] = outcome.error_lines
    assert str(status) in line
    assert "redirects are not followed" in line


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 429},
        {"kind": "reset"},
        {"kind": "cut"},
        {"kind": "html"},
    ],
    ids=lambda fault: str(fault.get("status") or fault["kind"]),
)
def test_retries_end_after_max_retry_secs(
    emulator: Emulator, topic: int, run_tap: RunTap, fault: dict[str, Any]
) -> None:
    """One line says how long they took."""
    emulator.fault(times=-1, **fault)
    outcome = run_tap(topics=[topic], max_retry_secs=0.05)
    assert outcome.exit_code == 1
    # The pause after a 429 is longer than that.
    assert len(emulator.requests()) >= (1 if fault.get("status") == 429 else 2)
    [line] = outcome.error_lines
    assert f"topic_{topic} (topic {topic})" in line
    assert "gave up" in line
    assert "max_retry_secs is 0.05" in line
    assert "Traceback" not in outcome.stderr


def test_without_retry_time_there_is_one_attempt(
    emulator: Emulator, topic: int, run_tap: RunTap
) -> None:
    """With `max_retry_secs: 0` nothing is retried."""
    emulator.fault("status", status=503, times=-1)
    outcome = run_tap(topics=[topic], max_retry_secs=0)
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == 1


def test_an_unreachable_service_is_reported_in_one_line(run_tap: RunTap) -> None:
    """A refused connection names the topic and what to check."""
    outcome = run_tap(topics=[1], api_url="http://127.0.0.1:1", max_retry_secs=0.2)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1)" in line
    assert "check the network and api_url" in line


def test_debug_adds_a_traceback(emulator: Emulator, topic: int, run_tap: RunTap) -> None:
    """It contains neither token nor payload."""
    emulator.fault("status", status=404, after=1, times=-1)
    outcome = run_tap(topics=[topic], env={"LOGLEVEL": "DEBUG"}, batch_size=2)
    assert outcome.exit_code == 1
    assert "Traceback (most recent call last)" in outcome.stderr
    assert emulator.token not in outcome.stderr
    assert SECRET not in outcome.stderr


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 400, "echo": True},
        {"kind": "status", "status": 503, "echo": True},
        {"kind": "cut"},
        {"kind": "cut_json"},
        {"kind": "reset_after"},
        {"kind": "garbage", "body": f'{{"messages":[{{"payload":{{"text":"{SECRET}"}}}}]}}'},
        {"kind": "html", "body": f"<html>{SECRET}</html>"},
    ],
    ids=lambda fault: f"{fault.get('status') or fault['kind']}",
)
def test_neither_token_nor_payload_is_ever_logged(
    emulator: Emulator, topic: int, run_tap: RunTap, fault: dict[str, Any]
) -> None:
    """Neither is in a log line or traceback, not even if the service repeats the token."""
    fault = dict(fault)
    if fault.pop("echo", False):
        fault["body"] = {"message": f"Bearer {emulator.token} is not\nwelcome"}
    emulator.fault(after=1, times=-1, **fault)
    outcome = run_tap(topics=[topic], batch_size=2, max_retry_secs=0.2, env={"LOGLEVEL": "DEBUG"})
    assert outcome.exit_code == 1
    assert len(outcome.records()) == 2
    assert len(outcome.error_lines) >= 1
    assert emulator.token not in outcome.stderr
    assert emulator.token.encode() not in outcome.stdout
    assert SECRET not in outcome.stderr


def test_a_failing_topic_does_not_stop_the_others(emulator: Emulator, run_tap: RunTap) -> None:
    """They are read to their end, the state covers them, and then the run fails."""
    published = {}
    for topic in range(1, 6):
        emulator.create_topic(f"topic {topic}", id=topic)
        published[topic] = emulator.load(topic, [{"n": n} for n in range(40)])
    emulator.fault("status", status=403, topic_id=2, after=1, times=-1)
    outcome = run_tap(topics=[1, 2, 3, 4, 5], batch_size=10, max_parallel_topics=2)
    assert outcome.exit_code == 1
    for topic in (1, 3, 4, 5):
        assert ids(outcome, f"topic_{topic}") == published[topic]
        assert bookmark(outcome.states[-1], f"topic_{topic}") == published[topic][-1]
    assert ids(outcome, "topic_2") == published[2][:10]
    assert bookmark(outcome.states[-1], "topic_2") == published[2][9]
    [line] = outcome.error_lines
    assert re.search(r"topic_2 \(topic 2\).*403", line)


def test_each_failing_topic_has_a_line(emulator: Emulator, run_tap: RunTap) -> None:
    """Two topics that fail are two lines."""
    for topic in (1, 2, 3):
        emulator.create_topic(f"topic {topic}", id=topic)
    emulator.load(1, [{}])
    emulator.fault("status", status=403, topic_id=2, times=-1)
    emulator.fault("status", status=404, topic_id=3, times=-1)
    outcome = run_tap(topics=[1, 2, 3])
    assert outcome.exit_code == 1
    assert len(outcome.records("topic_1")) == 1
    lines = sorted(re.sub(r".*?(topic_\d)", r"\1", line) for line in outcome.error_lines)
    assert [line.split(": ")[0] for line in lines] == ["topic_2 (topic 2)", "topic_3 (topic 3)"]
