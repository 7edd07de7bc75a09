"""Several processes of the executables share a quota."""

import signal
import socket
import subprocess

import pytest

from tests.support.executables import command, environment
from tests.support.quota_stores import redis_server
from tests.support.running import eventually, never
from tests.support.singer_lines import lines, record, schema, state
from tests.support.tap import END_SECS, bookmark

SECRET = "st0re-secret"
ORDERS = lines(schema(), record(id=1))


@pytest.mark.parametrize(
    ("url", "shown", "reason", "remedy"),
    [
        ("redis://:{0}@{1}/0", "redis://{1}/0", "refused", "check that it is running"),
        ("postgresql://me:{0}@{1}/x", "postgresql://{1}/x", "refused", "check that it is running"),
        ("file://{2}", "file://{2}", "not a database", "check that it can be written"),
    ],
    ids=["redis", "postgresql", "file"],
)
def test_an_unusable_store_is_reported_in_one_line(
    connector, emulator, refused_port, tmp_path, url, shown, reason, remedy
):
    file = tmp_path / "quota.db"
    file.write_text("not a database" * 100)
    parts = SECRET, f"127.0.0.1:{refused_port}", file
    settings = {"quota_url": url.format(*parts), "max_requests_per_minute": 60}
    outcome = connector.run(emulator.url, env={"LOGLEVEL": "DEBUG"}, **settings)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert f"quota_url: cannot use the quota store {shown.format(*parts)} (" in line
    assert reason in line
    assert remedy in line
    assert SECRET not in outcome.stderr
    assert emulator.requests() == []


def test_a_store_that_does_not_respond_is_reported_within_10_seconds(emulator, start_tap):
    """The error is one line, even at debug level and if several topics wait for the store."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(3)]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://me:{SECRET}@127.0.0.1:{silent.getsockname()[1]}/0"
        quota = {"quota_url": url, "max_requests_per_minute": 60}
        tap = start_tap(topics=topics, env={"LOGLEVEL": "DEBUG"}, **quota)
        eventually(lambda: "reading" in tap.stderr, "the tap to start")
        outcome = tap.end(within=10)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "cannot use the quota store postgresql://127.0.0.1" in line
    assert SECRET not in outcome.stderr
    assert emulator.requests() == []


def test_processes_count_their_requests_together(store, emulator, run_tap, run_target, start_tap):
    """A tap is piped into a target, and another tap has to wait; it can be stopped immediately."""
    source, destination = emulator.create_topic("source"), emulator.create_topic("destination")
    emulator.load(source, [{"n": n} for n in range(5)])
    quota = {"quota_url": store.url, "max_requests_per_minute": 11}
    reading = {"topics": [source], "batch_size": 1, **quota}
    # 11 requests: 5 messages and an empty page are read, and 5 messages are published.
    read = run_tap(**reading)
    assert read.exit_code == 0, read.stderr
    written = run_target(read.stdout, topics={"*": destination}, batch_size_rows=1, **quota)
    assert written.exit_code == 0, written.stderr
    assert len(emulator.requests()) == 11
    waiting = start_tap(**reading)
    eventually(lambda: "reading" in waiting.stderr, "the tap to start")
    never(lambda: len(emulator.requests()) > 11, "a request over the quota")
    waiting.send(signal.SIGTERM)
    ended = waiting.end(within=END_SECS)
    assert ended.exit_code == 0, ended.stderr
    assert ended.error_lines == []


def test_the_connection_to_the_store_is_closed(connector, emulator, store):
    """Otherwise, Python reports it in each run, if its warnings are enabled."""
    emulator.create_topic("orders", id=1)
    settings = {"quota_url": store.url, "max_requests_per_minute": 9, "api_token": emulator.token}
    env = {"PYTHONWARNINGS": "always::ResourceWarning"}
    outcome = connector.run(emulator.url, env=env, **settings)
    assert outcome.exit_code == 0, outcome.stderr
    assert "ResourceWarning" not in outcome.stderr


def test_a_tap_piped_into_a_target_on_one_quota_does_not_block(write_config, emulator, tmp_path):
    """Both processes use the same file concurrently."""
    source, destination = emulator.create_topic("source"), emulator.create_topic("destination")
    emulator.load(source, [{"n": n} for n in range(60)])
    quota = {"quota_url": f"file://{tmp_path}/quota.db", "max_requests_per_minute": 200}
    topics = [{"id": source, "name": "orders"}]
    tap = write_config(topics=topics, batch_size=1, **quota)
    target = write_config(topics={"*": destination}, batch_size_rows=1, **quota)
    reading, writing = (
        " ".join(command(f"{name}-workato-streams", "--config", config))
        for name, config in (("tap", tap), ("target", target))
    )
    done = subprocess.run(
        ["/bin/bash", "-o", "pipefail", "-c", f"{reading} | {writing}"],
        capture_output=True,
        timeout=60,
        check=True,
        env=environment(),
    )
    assert b'"orders"' in done.stdout
    published = [record["payload"] for record in emulator.payloads(destination)]
    assert published == [{"n": n} for n in range(60)]


def test_a_store_that_is_lost_during_a_run_ends_it_with_its_state(
    emulator, start_tap, start_target, tmp_path
):
    """The run waits for a restart first; the state covers all messages that are done."""
    source = emulator.create_topic("source")
    [message_id] = emulator.load(source, [{"n": 1}])
    with redis_server(tmp_path) as server:
        quota = {"quota_url": server.url, "max_requests_per_minute": 60}
        target = start_target(max_batch_age_secs=0.1, **quota)
        target.feed(ORDERS, state(1))
        eventually(lambda: target.emitted == [1], "the state of the target")
        reading = {"tail": True, "timeout_secs": 1, "state_interval_secs": 60}
        tap = start_tap(topics=[source], **reading, **quota)
        tap.wait_for_records(1)
        server.stop()
        target.feed(ORDERS, state(2))
        ended = [tap.end(within=15), target.end(within=15)]
    for outcome in ended:
        assert outcome.exit_code == 1
        [line] = outcome.error_lines
        assert f"cannot use the quota store redis://127.0.0.1:{server.port}/0" in line
    assert bookmark(ended[0].states[-1], f"topic_{source}") == message_id
    assert target.emitted == [1]
