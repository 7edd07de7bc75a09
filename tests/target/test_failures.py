"""A failure is reported in one line; no line contains a token or payload."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.executables import command, environment
from tests.injection import injected
from tests.running import eventually
from tests.target.singer import lines, orders, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget, StartTarget, TargetConfig

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
def test_a_failure_is_one_line_without_token_or_payload(
    emulator: Emulator, topic: int, run_target: RunTarget, kind: str, options: dict[str, Any]
) -> None:
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


def test_a_token_that_the_service_repeats_is_redacted(
    emulator: Emulator, run_target: RunTarget
) -> None:
    """The service's text is shown without the token."""
    body = f'{{"message":"token {emulator.token} is not known"}}'
    emulator.fault("status", status=401, body=body)
    done = run_target(schema(), *orders(1))
    assert "is not known" in done.error_lines[0]
    assert emulator.token not in done.stderr


def test_a_refused_connection_is_reported_in_one_line(
    emulator: Emulator, run_target: RunTarget
) -> None:
    """The error comes after the retries."""
    port = 9
    done = run_target(schema(), *orders(1), api_url=f"http://127.0.0.1:{port}", max_retry_secs=0.2)
    assert done.exit_code == 1
    (line,) = done.error_lines
    assert "refused" in line
    assert emulator.requests() == []


def test_a_traceback_is_logged_at_debug_level(emulator: Emulator, run_target: RunTarget) -> None:
    """The token is redacted in the traceback, too."""
    emulator.fault("status", status=404)
    done = run_target(schema(), *orders(1), env={"TARGET_WORKATO_STREAMS_LOGLEVEL": "DEBUG"})
    assert "Traceback" in done.stderr
    assert emulator.token not in done.stderr


def test_batches_are_not_logged(run_target: RunTarget) -> None:
    """A run of 30 batches writes a summary line a topic, and little else."""
    done = run_target(schema(), *orders(300, state_every=10), batch_size_rows=10)
    assert done.exit_code == 0
    assert len(done.stderr.splitlines()) < 10
    summary = "orders (topic 1): 300 published, 0 dead letters, 0 resent, 0 possibly duplicated, "
    assert summary + "30 requests" in done.stderr


def test_a_closed_stdout_ends_the_run(
    emulator: Emulator, topic: int, target_config: TargetConfig
) -> None:
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
def test_whatever_happens_to_a_worker_ends_the_run(
    topic: int, run_target: RunTarget, tmp_path: Path, fault: str
) -> None:
    """The failure is one line that names the topic; nothing waits for such a worker."""
    env = injected(tmp_path / "site", fault)
    done = run_target(schema(), *orders(250), state("all"), env=env, batch_size_rows=10)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert f"orders (topic {topic}): a worker failed" in line


def test_a_topic_that_fails_does_not_starve_the_others(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """While one topic is retried, records of the others are published within the memory limit."""
    failing = emulator.create_topic("failing")
    emulator.fault("status", status=500, topic_id=failing, times=-1)
    target = start_target(topics={"failing": failing}, batch_size_rows=20)
    fed = [line for n in range(1250) for line in (record("failing", id=n), *orders(1, start=n))]
    target.feed(schema(), schema("failing"), *fed)
    eventually(lambda: len(emulator.payloads(topic)) > 1200, "the records of the other topic")
    assert emulator.payloads(failing) == []


def test_a_topic_that_begins_to_fail_does_not_hold_up_the_others(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
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
