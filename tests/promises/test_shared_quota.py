"""Several processes of the executables share a quota."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.executables import command, environment, run
from tests.support.quota_stores import MISSING, redis_is_installed, redis_server
from tests.support.running import Running, eventually, killed_at_end
from tests.support.target import RunningTarget

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.executables import Outcome

SECRET = "st0re-secret"
CONNECTORS = ["tap-workato-streams", "target-workato-streams"]
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
ORDERS = "".join(
    json.dumps(line) + "\n"
    for line in (
        {"type": "SCHEMA", "stream": "orders", "schema": SCHEMA, "key_properties": []},
        {"type": "RECORD", "stream": "orders", "record": {"n": 1}},
    )
).encode()
STATE = b'{"type": "STATE", "value": {"at": 1}}\n'


def fail(connector: str, config: Path) -> tuple[Outcome, float]:
    """Run a connector that should fail; return the outcome and the duration in seconds."""
    began = time.monotonic()
    outcome = run(connector, "--config", config, stdin=ORDERS)
    return outcome, time.monotonic() - began


def routes(connector: str, topic: int) -> dict[str, Any]:
    """Return the settings for a connector that uses a topic."""
    return {"topics": [{"id": topic}] if connector.startswith("tap") else {"orders": topic}}


@pytest.mark.parametrize("connector", CONNECTORS)
def test_settings_are_checked_all_at_once(connector, write_config, emulator, tmp_path):
    """A missing folder and a missing limit are reported together, before the first request."""
    topic = emulator.create_topic()
    url = f"file://{tmp_path}/missing/quota.db"
    outcome, _ = fail(connector, write_config(**routes(connector, topic), quota_url=url))
    assert outcome.exit_code == 1
    assert not (tmp_path / "missing").exists()
    [folder, limit] = [line for line in outcome.error_lines if "quota_url: " in line]
    assert f"the folder {tmp_path}/missing does not exist" in folder
    assert "requires max_requests_per_minute" in limit
    assert emulator.requests() == []


@pytest.mark.parametrize("connector", CONNECTORS)
@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_an_unreachable_store_is_reported_in_one_line(
    connector, scheme, write_config, emulator, refused_port
):
    """The line comes at once, with the reason and the remedy, but without the password."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": 1}])
    url = f"{scheme}://me:{SECRET}@127.0.0.1:{refused_port}/0"
    settings = {**routes(connector, topic), "quota_url": url, "max_requests_per_minute": 60}
    outcome, secs = fail(connector, write_config(**settings))
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert f"quota_url: cannot use the quota store {scheme}://127.0.0.1:{refused_port}/0" in line
    assert "refused" in line
    assert SECRET not in outcome.stderr
    # This includes the start of the process, on a machine that may be busy.
    assert secs < 30
    assert emulator.requests() == []


def test_a_store_that_does_not_respond_is_reported_within_10_seconds(write_config, emulator):
    """The error is one line, even at debug level and if several topics wait for the store."""
    topics = [{"id": emulator.create_topic(f"topic {n}")} for n in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/0"
        path = write_config(topics=topics, quota_url=url, max_requests_per_minute=60)
        tap = Running("tap-workato-streams", "--config", path, env={"LOGLEVEL": "DEBUG"})
        eventually(lambda: "reading" in tap.stderr, "the tap to start")
        outcome = tap.end(within=10)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "cannot use the quota store postgresql://127.0.0.1" in line
    assert SECRET not in outcome.stderr
    assert emulator.requests() == []


def test_processes_count_their_requests_together(store, write_config, emulator):
    """A tap is piped into a target, and another tap has to wait; it can be stopped immediately."""
    source, destination = emulator.create_topic("source"), emulator.create_topic("destination")
    emulator.load(source, [{"n": n} for n in range(5)])
    quota = {"quota_url": store.url, "max_requests_per_minute": 11}
    topics = [{"id": source, "name": "orders"}]
    tap = write_config(topics=topics, batch_size=1, **quota)
    target = write_config(default_topic_id=destination, batch_size_rows=1, **quota)
    # 11 requests: 5 messages and an empty page are read, and 5 messages are published.
    read = run("tap-workato-streams", "--config", tap)
    assert read.exit_code == 0, read.stderr
    written = run("target-workato-streams", "--config", target, stdin=read.stdout)
    assert written.exit_code == 0, written.stderr
    assert len(emulator.requests()) == 11
    waiting = Running("tap-workato-streams", "--config", tap)
    try:
        eventually(lambda: "reading" in waiting.stderr, "the tap to start")
        time.sleep(1)
        assert len(emulator.requests()) == 11
        waiting.send(signal.SIGTERM)
        began = time.monotonic()
        ended = waiting.end()
        assert time.monotonic() - began < 5
        assert ended.exit_code == 0, ended.stderr
        assert ended.error_lines == []
    finally:
        waiting.kill()


def test_different_limits_are_logged_once(write_config, emulator, tmp_path):
    """The process with the lower limit would wait for the other one without an explanation."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": n} for n in range(3)])
    settings = {"topics": [{"id": topic}], "batch_size": 1}
    url = f"file://{tmp_path}/quota.db"
    logs = []
    for limit in (60, 50):
        config = write_config(quota_url=url, max_requests_per_minute=limit, **settings)
        logs.append(run("tap-workato-streams", "--config", config).stderr)
    assert "max_requests_per_minute" not in logs[0]
    [line] = [line for line in logs[1].splitlines() if "WARNING" in line]
    assert "quota_url: other requests were counted with max_requests_per_minute 60" in line
    assert "those of this process with 50" in line


def test_a_tap_piped_into_a_target_on_one_quota_does_not_block(write_config, emulator, tmp_path):
    """Both processes use the same file concurrently."""
    source, destination = emulator.create_topic("source"), emulator.create_topic("destination")
    emulator.load(source, [{"n": n} for n in range(60)])
    quota = {"quota_url": f"file://{tmp_path}/quota.db", "max_requests_per_minute": 200}
    topics = [{"id": source, "name": "orders"}]
    tap = write_config(topics=topics, batch_size=1, **quota)
    target = write_config(default_topic_id=destination, batch_size_rows=1, **quota)
    reading = subprocess.Popen(
        command("tap-workato-streams", "--config", tap),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )
    assert reading.stdout is not None
    with killed_at_end(reading):
        writing = subprocess.run(
            command("target-workato-streams", "--config", target),
            stdin=reading.stdout,
            capture_output=True,
            timeout=60,
            check=True,
            env=environment(),
        )
        assert reading.wait(10) == 0
    assert b'"orders"' in writing.stdout
    published = [record["payload"] for record in emulator.payloads(destination)]
    assert published == [{"n": n} for n in range(60)]


@pytest.mark.skipif(not redis_is_installed(), reason=MISSING)
def test_a_store_that_is_lost_during_a_run_ends_it_with_its_state(write_config, emulator, tmp_path):
    """The run waits for a restart first; the state covers all messages that are done."""
    source, destination = emulator.create_topic("source"), emulator.create_topic("destination")
    [message_id] = emulator.load(source, [{"n": 1}])
    with redis_server(tmp_path) as server:
        quota = {"quota_url": server.url, "max_requests_per_minute": 60}
        topics = [{"id": source, "name": "orders"}]
        tap = Running(
            "tap-workato-streams",
            "--config",
            write_config(topics=topics, tail=True, timeout_secs=1, state_interval_secs=60, **quota),
        )
        target = RunningTarget(
            "--config",
            write_config(default_topic_id=destination, max_batch_age_secs=0.1, **quota),
        )
        try:
            target.feed_bytes(ORDERS + STATE)
            eventually(lambda: len(target.stdout.splitlines()) == 1, "the state of the target")
            eventually(lambda: b"RECORD" in tap.stdout, "the record of the tap")
            server.stop()
            target.feed_bytes(ORDERS + STATE)
            began = time.monotonic()
            ended = [tap.end(), target.end()]
            assert time.monotonic() - began < 15
        finally:
            tap.kill()
            target.kill()
    for outcome in ended:
        assert outcome.exit_code == 1
        [line] = outcome.error_lines
        assert f"cannot use the quota store redis://127.0.0.1:{server.port}/0" in line
    assert ended[0].states[-1]["bookmarks"]["orders"]["replication_key_value"] == message_id
    assert ended[1].stdout.splitlines() == [b'{"at": 1}']
