"""A shared quota in a real store, which counts requests by its own clock."""

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg
import pytest
import redis
from tap_workato_streams.event_streams import quota as shared_quota
from tap_workato_streams.event_streams.errors import QuotaStoreError, Stopped
from tap_workato_streams.event_streams.quota import SharedQuota

from tests.support.quota_stores import PASSWORD, Store, redis_server
from tests.support.running import killed_at_end
from tests.tools.benchmarks.quota import CLOCK_AHEAD


def quota_of(store: Store, limit: int) -> closing[SharedQuota]:
    """A connection to the quota of a store, which is closed at the end of the block."""
    return closing(SharedQuota(store.url, limit, 60))


def test_a_window_has_no_more_requests_than_the_quota(store):
    """The quota holds for all processes together, and is available again after the window."""
    with quota_of(store, 3) as one, quota_of(store, 3) as other:
        began = time.monotonic()
        assert [one.take(), other.take(), one.take()] == [0.0, 0.0, 0.0]
        wait = other.take()
        taken = time.monotonic() - began
        assert 60 - taken - 0.1 < wait < 60.1
        _shift(store, 10 - wait)
        assert one.take() > 0
        _shift(store, -10.02)
        assert other.take() == 0.0


def test_processes_with_different_limits_are_warned_once(store, caplog):
    """The process with the lower limit would wait for the others without a reason in the log."""
    with quota_of(store, 2) as one, quota_of(store, 5) as other:
        assert one.take() == 0.0
        assert [other.take() for _ in range(4)] == [0.0] * 4
        assert one.take() > 0
        assert one.take() > 0
    first, second = caplog.messages
    text = "counted with max_requests_per_minute {}, those of this process with {}; processes with"
    assert text.format(2, 5) in first
    assert text.format(5, 2) in second
    assert second.startswith("quota_url: other requests were ")
    assert second.endswith("set the same value in all of them")


@contextmanager
def other_process(store: Store, limit: int, statements: str) -> Iterator[subprocess.Popen[str]]:
    """A process whose clock is ahead, and that has taken from the quota and printed 0.0."""
    script = (
        "import sys, time; from tap_workato_streams.event_streams.quota import SharedQuota\n"
        f"quota = SharedQuota(sys.argv[1], {limit}, 60)\n{statements}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, store.url],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(CLOCK_AHEAD)},
        text=True,
    )
    with killed_at_end(process):
        assert process.stdout
        assert process.stdout.readline() == "0.0\n"
        yield process


def test_a_killed_process_does_not_block_the_others(store):
    """The request that it was counting is counted or not; no lock remains."""
    for _ in range(3):
        with other_process(store, 10**6, "while True: print(quota.take(), flush=True)"):
            pass
        with quota_of(store, 10**6) as quota:
            assert quota.take() == 0.0


def test_a_suspended_process_does_not_block_the_others(store):
    """Nothing is locked while it waits; by the store's clock, its request counts for a window."""
    with other_process(store, 1, "print(quota.take(), flush=True); time.sleep(60)") as process:
        process.send_signal(signal.SIGSTOP)
        with quota_of(store, 1) as quota:
            assert 0 < quota.take() < 60.1
            _shift(store, -60.1)
            assert quota.take() == 0.0


def test_names_separate_workspaces(store):
    other_store = store._replace(url=store.url.replace("name=test", "name=other"))
    with quota_of(store, 1) as one, quota_of(other_store, 1) as other:
        assert [one.take(), other.take()] == [0.0, 0.0]
        assert one.take() > 0
        assert other.take() > 0


def test_concurrent_requests_are_each_counted(store):
    """If many connections send requests at the same time, exactly the quota is admitted."""

    def admitted(_: int) -> int:
        count = 0
        with quota_of(store, 30) as quota:
            while (wait := quota.take()) < 1:
                time.sleep(wait)
                count += wait == 0
        return count

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(admitted, range(4))) == 30


def test_setting_back_the_clock_of_a_store_does_not_block(store):
    """Requests from the future are removed; otherwise all requests would wait for an hour."""
    with quota_of(store, 2) as quota:
        assert [quota.take(), quota.take()] == [0.0, 0.0]
        _shift(store, 3_600)
        assert [quota.take(), quota.take()] == [0.0, 0.0]
        assert 50 < quota.take() < 61


def test_old_requests_are_deleted(store):
    """The store's size does not grow with the number of requests."""
    with quota_of(store, 5) as quota:
        for _ in range(3):
            assert [quota.take() for _ in range(5)] == [0.0] * 5
            _shift(store, -61)
        assert quota.take() == 0.0
        assert _shift(store, 0) == 1


@pytest.mark.parametrize("scheme", ["redis", "postgresql"])
def test_a_store_that_does_not_respond_times_out(scheme, monkeypatch):
    """The port accepts connections, but sends nothing."""
    monkeypatch.setattr(shared_quota, "STORE_TIMEOUT_SECS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        quota = SharedQuota(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/0", 60, 61)
        with closing(quota), pytest.raises(QuotaStoreError, match="no response"):
            quota.take()


def test_a_wrong_password_is_redacted(shared_redis):
    quota = SharedQuota(shared_redis.url.replace(PASSWORD, "wr0ng"), 60, 61)
    with closing(quota), pytest.raises(QuotaStoreError) as raised:
        quota.take()
    assert "password" in str(raised.value)
    assert "wr0ng" not in str(raised.value)


def test_a_stop_does_not_wait_for_the_store():
    with socket.create_server(("127.0.0.1", 0)) as server:
        quota = SharedQuota(f"redis://127.0.0.1:{server.getsockname()[1]}/0", 60, 61)
        threading.Timer(0.2, quota.stop).start()
        with pytest.raises(Stopped):
            quota.take()


def test_a_server_may_be_restarted_during_a_run(tmp_path, monkeypatch):
    """Requests wait for a short time; if the server stays unreachable, the run ends."""
    with redis_server(tmp_path) as server, closing(SharedQuota(server.url, 60, 61)) as quota:
        assert quota.take() == 0.0
        server.stop()
        threading.Timer(0.7, server.start).start()
        assert quota.take() == 0.0
        server.stop()
        monkeypatch.setattr(shared_quota, "STORE_TIMEOUT_SECS", 1.0)
        with pytest.raises(QuotaStoreError, match=f"redis://127.0.0.1:{server.port}"):
            quota.take()


def test_a_run_survives_that_postgresql_closes_its_connection(postgres):
    """The server was restarted, or another one has taken over."""
    url = f"postgresql://postgres:pg-secret@/postgres?host={postgres.socket}"
    with closing(SharedQuota(f"{url}&name=closed", 60, 61)) as quota:
        assert quota.take() == 0.0
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'postgres' AND pid != pg_backend_pid()"
            )
        assert quota.take() == 0.0


def _shift(store: Store, secs: float) -> int:
    """Shift the times of all requests, as if the clock had been set back, or forward (negative).

    Returns:
        The number of requests in the store.
    """
    millis = round(secs * 1000)
    base, _, name = store.url.rpartition("name=")
    if store.kind == "redis":
        with redis.Redis.from_url(base.rstrip("?")) as client:
            members = client.zrange(f"workato_streams:{name}", 0, -1)
            for member in members:
                client.zincrby(f"workato_streams:{name}", millis, member)
            return len(members)
    if store.kind == "postgresql":
        with psycopg.connect(base.rstrip("&")) as connection:
            update = "UPDATE workato_streams_requests SET at = at + %s WHERE name = %s"
            return connection.execute(update, (timedelta(milliseconds=millis), name)).rowcount
    path = base.rstrip("?").removeprefix("file://")
    with closing(sqlite3.connect(path)) as database, database:
        return database.execute("UPDATE requests SET at = at + ?", (millis,)).rowcount
