"""A failure is one line with topic or stream, status, cause and remedy, and no secrets."""

import re
import subprocess
from typing import Any

import pytest

from tests.support.connector import PAYLOAD
from tests.support.executables import command, environment
from tests.support.injection import LONG_WAITS, injected
from tests.support.raw_service import RawService
from tests.support.running import eventually, killed_at_end
from tests.support.singer_lines import lines, orders, record, schema, state
from tests.support.tap import bookmark
from tests.support.tap_output import ids

RETRIED = "; gave up"
NO_RESPONSE = f"; check the network and api_url{RETRIED}"
PROXY = "the proxy requires a user name and password; check the proxy settings (https_proxy)"
# The service quotes the token (***) and what it has received.
FAILURES: list[tuple[dict[str, Any], str]] = [
    ({"status": 401}, "HTTP 401 (No way, ***); check api_token and data_center"),
    (
        {"status": 403},
        "HTTP 403 (No way, ***); give the API client of api_token access to this topic",
    ),
    ({"status": 404}, "HTTP 404 (No way, ***); check the topic id, data_center and api_url"),
    ({"status": 407}, f"HTTP 407 (No way, ***); {PROXY}"),
    ({"status": 451}, "HTTP 451 (No way, ***); check the settings"),
    ({"status": 503}, f"HTTP 503 (No way, ***){RETRIED}"),
    (
        {"status": 500, "body": f"<html>{PAYLOAD}</html>"},
        f"HTTP 500 (Internal Server Error){RETRIED}",
    ),
    ({"kind": "reset"}, NO_RESPONSE),
    ({"kind": "reset_after"}, NO_RESPONSE),
    ({"kind": "cut"}, f"no complete response (IncompleteRead){NO_RESPONSE}"),
    ({"kind": "cut_json"}, f" bytes, application/json); check api_url{RETRIED}"),
    (
        {"kind": "html", "body": f"<html>{PAYLOAD}</html>"},
        f"unexpected response (28 bytes, text/html); check api_url{RETRIED}",
    ),
    (
        {"kind": "garbage", "body": {"messages": [{"payload": PAYLOAD}]}},
        f"application/json); check api_url{RETRIED}",
    ),
]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        pytest.param(fault, words, id=str(fault.get("status") or fault["kind"]))
        for fault, words in FAILURES
    ],
)
def test_a_failure_is_one_line_without_token_or_payload(connector, emulator, fault, words):
    """Neither is part of the traceback, which is logged at debug level."""
    emulator.create_topic("orders", id=1)
    emulator.load(1, [{"id": PAYLOAD}])
    body = {"message": f"No\nway, {emulator.token}"}
    emulator.fault(times=-1, **{"kind": "status", "body": body, **fault})
    settings = {"api_token": emulator.token, "max_retry_secs": 1}
    outcome = connector.run(emulator.url, env={"LOGLEVEL": "DEBUG"}, **settings)
    assert (outcome.exit_code, outcome.records()) == (1, [])
    [line] = outcome.error_lines
    assert " | orders (topic 1): " in line
    # An unexpected response may be requested five times within the second.
    gave_up = r"gave up after (\d s \(max_retry_secs is 1\)|5 attempts)$"
    assert re.sub(gave_up, "gave up", line).endswith(words)
    assert (len(emulator.requests()) == 1) == ("gave up" not in words)
    assert "Traceback (most recent call last)" in outcome.stderr
    assert emulator.token not in outcome.stderr + outcome.stdout.decode()
    assert PAYLOAD not in outcome.stderr


@pytest.mark.parametrize("status", [302, 307])
def test_a_redirect_is_not_followed(connector, emulator, status):
    """The token is sent only to the host in the settings."""
    emulator.create_topic("orders", id=1)
    with RawService(lambda _connection, _number: None) as elsewhere:
        emulator.fault("redirect", status=status, location=f"{elsewhere.url}/api/v1/", times=-1)
        outcome = connector.run(emulator.url, api_token=emulator.token)
    assert outcome.exit_code == 1
    assert (len(emulator.requests()), elsewhere.requests) == (1, [])
    [line] = outcome.error_lines
    assert re.search(rf"HTTP {status} \(.*\); check api_url: redirects are not followed$", line)
    assert "Traceback" not in outcome.stderr


def test_a_failing_topic_does_not_stop_the_others(emulator, run_tap):
    published = {}
    for topic in range(1, 6):
        emulator.create_topic(f"topic {topic}", id=topic)
        published[topic] = emulator.load(topic, [{"n": n} for n in range(40)])
    emulator.fault("status", status=403, topic_id=2, after=1, times=-1)
    emulator.fault("status", status=404, topic_id=4, times=-1)
    outcome = run_tap(topics=[1, 2, 3, 4, 5], batch_size=10, max_parallel_topics=2)
    assert outcome.exit_code == 1
    for topic, read in {1: 40, 2: 10, 3: 40, 4: 0, 5: 40}.items():
        assert ids(outcome, f"topic_{topic}") == published[topic][:read]
        reached = published[topic][read - 1] if read else None
        assert bookmark(outcome.states[-1], f"topic_{topic}") == reached
    first, second = sorted(line.rpartition(" | ")[2] for line in outcome.error_lines)
    assert first.startswith("topic_2 (topic 2): HTTP 403")
    assert second.startswith("topic_4 (topic 4): HTTP 404")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("entry_error", "orders, line 2: rejected: "),
        ("missing_entry", "orders (topic 1): the response was not understood: it has no result"),
    ],
)
def test_a_failed_entry_of_a_batch_is_one_line(emulator, run_target, kind, words):
    emulator.fault(kind, times=-1, indices=[0])
    done = run_target(schema(), record(id=1, note=PAYLOAD), state("all"), max_retry_secs=1)
    assert (done.exit_code, done.emitted_states) == (1, [])
    [line] = done.error_lines
    assert words in line
    assert PAYLOAD not in done.stderr


def test_a_closed_stdout_ends_the_run(emulator, topic, target_config):
    config = target_config(batch_size_rows=10)
    process = subprocess.Popen(
        command("target-workato-streams", "--config", config),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    with killed_at_end(process):
        assert process.stdout is not None
        process.stdout.close()
        _, errors = process.communicate(lines(schema(), *orders(1000, state_every=10)))
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
    env = injected(tmp_path / "site", fault) | {"LOGLEVEL": "DEBUG"}
    done = run_target(schema(), *orders(250), state("all"), env=env, batch_size_rows=10)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert f"orders (topic {topic}): a worker failed: " in line
    assert "sitecustomize.py:4); run again with LOGLEVEL=DEBUG to see more" in line
    assert "_start_worker" in done.stderr or "in _publish" in done.stderr  # the traceback


def test_a_topic_that_fails_does_not_starve_the_others(emulator, topic, start_target):
    """While one topic is retried, records of the others are published within the memory limit."""
    failing = emulator.create_topic("failing")
    emulator.fault("status", status=500, topic_id=failing, times=-1)
    target = start_target(topics={"failing": failing, "*": topic}, batch_size_rows=20)
    fed = [line for n in range(1250) for line in (record("failing", id=n), *orders(1, start=n))]
    target.feed(schema(), schema("failing"), *fed)
    eventually(lambda: len(emulator.payloads(topic)) > 1200, "the records of the other topic")
    assert emulator.payloads(failing) == []


# One entry fails and the others, which have no result, are resent before the retry of that one.
ONE_FAILED = {"message_ids": {"0": {"result": "failed"}}}


@pytest.mark.parametrize(
    ("fault", "waits", "published"),
    [({"status": 500, "times": -1}, "", 0), ({"status": 200, "body": ONE_FAILED}, LONG_WAITS, 99)],
    ids=["request", "entry"],
)
def test_a_topic_that_begins_to_fail_does_not_hold_up_the_others(
    emulator, topic, start_target, tmp_path, fault, waits, published
):
    """Reading pauses while its first request is in flight, and continues when that has failed."""
    failing = emulator.create_topic("failing")
    emulator.fault("status", topic_id=failing, **fault)
    emulator.configure(latency_secs=0.3)
    target = start_target(
        env=injected(tmp_path / "site", waits), topics={"failing": failing, "*": topic}
    )
    target.feed(schema(), schema("failing"), *orders(100))
    eventually(lambda: len(emulator.payloads(topic)) == 100, "the first batch of the other topic")
    target.feed(*(record("failing", id=n) for n in range(500)), *orders(300, start=100))
    eventually(lambda: len(emulator.payloads(topic)) == 400, "the records of the other topic")
    assert len(emulator.payloads(failing)) == published
