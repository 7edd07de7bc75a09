"""A failure is one line with topic or stream, status, cause and remedy, and no secrets."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.executables import command, environment
from tests.support.injection import injected
from tests.support.running import eventually
from tests.support.singer_lines import lines, orders, record, schema, state
from tests.support.tap import bookmark
from tests.support.tap_output import ids

if TYPE_CHECKING:
    from collections.abc import Iterator


SECRET = "secret-of-a-publisher"


@pytest.fixture
def tap_topic(emulator: Emulator) -> int:
    """A topic with a few messages."""
    tap_topic = emulator.create_topic()
    emulator.load(tap_topic, [{"text": SECRET, "n": n} for n in range(5)])
    return tap_topic


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
def test_a_rejection_is_one_request_and_one_line(emulator, tap_topic, run_tap, status, advice):
    """The line names the topic, the status, the service's reason and the remedy."""
    emulator.fault("status", status=status, body={"message": "In its own words"}, times=-1)
    outcome = run_tap(topics=[{"id": tap_topic, "name": "orders"}])
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == 1
    [line] = outcome.error_lines
    for part in (f"orders (topic {tap_topic})", str(status), "In its own words", advice):
        assert part in line
    assert "Traceback" not in outcome.stderr
    assert outcome.records() == []


def test_a_topic_that_does_not_exist(emulator, run_tap):
    """The service's own 404, not an injected one."""
    outcome = run_tap(topics=[77])
    assert outcome.exit_code == 1
    assert [request.status for request in emulator.requests()] == [404]
    [line] = outcome.error_lines
    assert "topic_77 (topic 77)" in line


def test_an_unknown_token(emulator, tap_topic, run_tap):
    """One request, and the token is not shown."""
    outcome = run_tap(topics=[tap_topic], api_token="a-wrong-token", env={"LOGLEVEL": "DEBUG"})
    assert outcome.exit_code == 1
    assert [request.status for request in emulator.requests()] == [401]
    assert "api_token" in outcome.error_lines[0]
    assert "a-wrong-token" not in outcome.stderr


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(emulator, elsewhere, tap_topic, run_tap, status):
    """The token is sent only to the host in the settings."""
    emulator.fault("redirect", status=status, location=f"{elsewhere.url}/api/v1/", times=-1)
    outcome = run_tap(topics=[tap_topic])
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
def test_retries_end_after_max_retry_secs(emulator, tap_topic, run_tap, fault):
    """One line says how long they took."""
    emulator.fault(times=-1, **fault)
    outcome = run_tap(topics=[tap_topic], max_retry_secs=0.05)
    assert outcome.exit_code == 1
    # The pause after a 429 is longer than that.
    assert len(emulator.requests()) >= (1 if fault.get("status") == 429 else 2)
    [line] = outcome.error_lines
    assert f"topic_{tap_topic} (topic {tap_topic})" in line
    assert "gave up" in line
    assert "max_retry_secs is 0.05" in line
    assert "Traceback" not in outcome.stderr


def test_without_retry_time_there_is_one_attempt(emulator, tap_topic, run_tap):
    """With `max_retry_secs: 0` nothing is retried."""
    emulator.fault("status", status=503, times=-1)
    outcome = run_tap(topics=[tap_topic], max_retry_secs=0)
    assert outcome.exit_code == 1
    assert len(emulator.requests()) == 1


def test_an_unreachable_service_is_reported_in_one_line(run_tap):
    """A refused connection names the topic and what to check."""
    outcome = run_tap(topics=[1], api_url="http://127.0.0.1:1", max_retry_secs=0.2)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1)" in line
    assert "check the network and api_url" in line


def test_debug_adds_a_traceback(emulator, tap_topic, run_tap):
    """It contains neither token nor payload."""
    emulator.fault("status", status=404, after=1, times=-1)
    outcome = run_tap(topics=[tap_topic], env={"LOGLEVEL": "DEBUG"}, batch_size=2)
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
def test_neither_token_nor_payload_is_ever_logged(emulator, tap_topic, run_tap, fault):
    """Neither is in a log line or traceback, not even if the service repeats the token."""
    fault = dict(fault)
    if fault.pop("echo", False):
        fault["body"] = {"message": f"Bearer {emulator.token} is not\nwelcome"}
    emulator.fault(after=1, times=-1, **fault)
    outcome = run_tap(
        topics=[tap_topic], batch_size=2, max_retry_secs=0.2, env={"LOGLEVEL": "DEBUG"}
    )
    assert outcome.exit_code == 1
    assert len(outcome.records()) == 2
    assert len(outcome.error_lines) >= 1
    assert emulator.token not in outcome.stderr
    assert emulator.token.encode() not in outcome.stdout
    assert SECRET not in outcome.stderr


def test_a_failing_topic_does_not_stop_the_others(emulator, run_tap):
    """They are read to their end, the state covers them, and then the run fails."""
    published = {}
    for tap_topic in range(1, 6):
        emulator.create_topic(f"topic {tap_topic}", id=tap_topic)
        published[tap_topic] = emulator.load(tap_topic, [{"n": n} for n in range(40)])
    emulator.fault("status", status=403, topic_id=2, after=1, times=-1)
    outcome = run_tap(topics=[1, 2, 3, 4, 5], batch_size=10, max_parallel_topics=2)
    assert outcome.exit_code == 1
    for tap_topic in (1, 3, 4, 5):
        assert ids(outcome, f"topic_{tap_topic}") == published[tap_topic]
        assert bookmark(outcome.states[-1], f"topic_{tap_topic}") == published[tap_topic][-1]
    assert ids(outcome, "topic_2") == published[2][:10]
    assert bookmark(outcome.states[-1], "topic_2") == published[2][9]
    [line] = outcome.error_lines
    assert re.search(r"topic_2 \(topic 2\).*403", line)


def test_each_failing_topic_has_a_line(emulator, run_tap):
    """Two topics that fail are two lines."""
    for tap_topic in (1, 2, 3):
        emulator.create_topic(f"topic {tap_topic}", id=tap_topic)
    emulator.load(1, [{}])
    emulator.fault("status", status=403, topic_id=2, times=-1)
    emulator.fault("status", status=404, topic_id=3, times=-1)
    outcome = run_tap(topics=[1, 2, 3])
    assert outcome.exit_code == 1
    assert len(outcome.records("topic_1")) == 1
    lines = sorted(re.sub(r".*?(topic_\d)", r"\1", line) for line in outcome.error_lines)
    assert [line.split(": ")[0] for line in lines] == ["topic_2 (topic 2)", "topic_3 (topic 3)"]


PAYLOAD = "confidential-payload"
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": 401}),
    ("status", {"status": 403}),
    ("status", {"status": 404}),
    ("status", {"status": 400}),
    ("status", {"status": 503}),
    ("status", {"status": 500, "body": "<html>no</html>"}),
    ("reset", {}),
    ("stall", {"secs": 1.0}),
    ("cut_json", {}),
    ("html", {}),
    ("garbage", {}),
    ("redirect", {"location": "https://elsewhere.invalid/"}),
    ("entry_error", {"indices": [0]}),
    ("missing_entry", {"indices": [0]}),
]


@pytest.mark.parametrize(("kind", "options"), FAULTS)
def test_a_failure_is_one_line_without_token_or_payload(emulator, topic, run_target, kind, options):
    """The line names the stream or topic; there is no traceback and no state."""
    emulator.fault(kind, times=-1, **options)
    done = run_target(
        schema(),
        record(id=1, note=PAYLOAD),
        state("all"),
        max_retry_secs=0.3,
        request_timeout_secs=1,
    )
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "orders" in line
    assert f"topic {topic}" in line or "line 2" in line
    for secret in (emulator.token, PAYLOAD, "Traceback"):
        assert secret not in done.stderr
        assert secret.encode() not in done.stdout


def test_a_token_that_the_service_repeats_is_redacted(emulator, run_target):
    """The service's text is shown without the token."""
    body = f'{{"message":"token {emulator.token} is not known"}}'
    emulator.fault("status", status=401, body=body)
    done = run_target(schema(), *orders(1))
    assert "is not known" in done.error_lines[0]
    assert emulator.token not in done.stderr


def test_a_refused_connection_is_reported_in_one_line(emulator, run_target):
    """The error comes after the retries."""
    port = 9
    done = run_target(schema(), *orders(1), api_url=f"http://127.0.0.1:{port}", max_retry_secs=0.2)
    assert done.exit_code == 1
    (line,) = done.error_lines
    assert "refused" in line
    assert emulator.requests() == []


def test_a_traceback_is_logged_at_debug_level(emulator, run_target):
    """The token is redacted in the traceback, too."""
    emulator.fault("status", status=404)
    done = run_target(schema(), *orders(1), env={"TARGET_WORKATO_STREAMS_LOGLEVEL": "DEBUG"})
    assert "Traceback" in done.stderr
    assert emulator.token not in done.stderr


def test_batches_are_not_logged(run_target):
    """A run of 30 batches writes a summary line a topic, and little else."""
    done = run_target(schema(), *orders(300, state_every=10), batch_size_rows=10)
    assert done.exit_code == 0
    assert len(done.stderr.splitlines()) < 10
    summary = "orders (topic 1): 300 published, 0 dead letters, 0 resent, 0 possibly duplicated, "
    assert summary + "30 requests" in done.stderr


def test_a_closed_stdout_ends_the_run(emulator, topic, target_config):
    """Without a reader of its states, the run ends and says why."""
    config = target_config(batch_size_rows=10)
    process = subprocess.Popen(
        command("target-workato-streams", "--config", config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(lines(schema(), *orders(1000, state_every=10)), timeout=30)
    assert process.returncode == 1
    assert b"cannot write the state to stdout" in errors
    assert len(emulator.payloads(topic)) < 1000


CANNOT_START = """
    import threading
    def start(self):
        raise RuntimeError("can't start new thread")
    threading.Thread.start = start
"""
CANNOT_SEND = """
    import http.client
    def request(*_args, **_kwargs):
        raise MemoryError
    http.client.HTTPConnection.endheaders = request
"""


@pytest.mark.parametrize("fault", [CANNOT_START, CANNOT_SEND])
def test_whatever_happens_to_a_worker_ends_the_run(topic, run_target, tmp_path, fault):
    """The failure is one line that names the topic; nothing waits for such a worker."""
    env = injected(tmp_path / "site", fault)
    done = run_target(schema(), *orders(250), state("all"), env=env, batch_size_rows=10)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert f"orders (topic {topic}): a worker failed" in line


def test_a_topic_that_fails_does_not_starve_the_others(emulator, topic, start_target):
    """While one topic is retried, records of the others are published within the memory limit."""
    failing = emulator.create_topic("failing")
    emulator.fault("status", status=500, topic_id=failing, times=-1)
    target = start_target(topics={"failing": failing}, batch_size_rows=20)
    fed = [line for n in range(1250) for line in (record("failing", id=n), *orders(1, start=n))]
    target.feed(schema(), schema("failing"), *fed)
    eventually(lambda: len(emulator.payloads(topic)) > 1200, "the records of the other topic")
    assert emulator.payloads(failing) == []


def test_a_topic_that_begins_to_fail_does_not_hold_up_the_others(emulator, topic, start_target):
    """Reading pauses while its first request is in flight, and continues when that has failed."""
    failing = emulator.create_topic("failing")
    emulator.fault("status", status=500, topic_id=failing, times=-1)
    emulator.configure(latency_secs=0.3)
    target = start_target(topics={"failing": failing})
    target.feed(schema(), schema("failing"), *orders(100))
    eventually(lambda: len(emulator.payloads(topic)) == 100, "the first batch of the other topic")
    target.feed(*(record("failing", id=n) for n in range(500)), *orders(300, start=100))
    eventually(lambda: len(emulator.payloads(topic)) == 400, "the records of the other topic")
    assert emulator.payloads(failing) == []
