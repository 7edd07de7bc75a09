"""The server process: it starts, keeps its data if requested, and leaves no process behind."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests
from workato_streams_emulator import Emulator

from tests.support.running import killed_at_end

TIMEOUT_SECS = 30
# Starts an emulator, prints its URL, and waits to be killed.
PARENT = """
import time
from workato_streams_emulator import Emulator
print(Emulator.start().url, flush=True)
time.sleep(600)
"""


def wait_until_gone(url: str) -> None:
    """Wait until no process listens at `url`."""
    until = time.monotonic() + TIMEOUT_SECS
    while time.monotonic() < until:
        try:
            requests.get(url, timeout=TIMEOUT_SECS)
        except requests.ConnectionError:
            return
        time.sleep(0.05)
    raise AssertionError("the emulator is still running")


def test_a_file_outlives_the_process(tmp_path: Path) -> None:
    """With `database`, the next process has the same topics and messages, and can use the port."""
    with Emulator.start(database=tmp_path / "emulator.db") as first:
        topic_id = first.create_topic(schema=[{"name": "n", "type": "integer"}])
        ids = first.load(topic_id, [{"n": n} for n in range(3)])
        first.expire(topic_id, ids[2])
        port = int(first.url.rpartition(":")[2])
    wait_until_gone(first.url)
    with Emulator.start(database=tmp_path / "emulator.db", port=port) as second:
        assert second.url == first.url
        (new,) = second.load(topic_id, [{"n": 3}])
        assert new not in ids
        assert second.payloads(topic_id) == [{"n": 3}]


def test_stopping_does_not_wait_for_long_polls() -> None:
    """Stopping closes the connections of long polls."""
    emulator = Emulator.start()
    with emulator:
        topic_id = emulator.create_topic()
        emulator.fault("stall", secs=600)
        with pytest.raises(requests.ReadTimeout):
            requests.post(
                f"{emulator.url}/api/v1/topics/{topic_id}/consume",
                headers={"Authorization": f"Bearer {emulator.token}"},
                timeout=0.2,
            )
    wait_until_gone(emulator.url)


def test_the_server_exits_with_its_parent() -> None:
    """The server exits if the process that started it is killed."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with killed_at_end(parent):
        assert parent.stdout is not None
        url = parent.stdout.readline().decode().strip()
        assert requests.get(url, timeout=TIMEOUT_SECS).status_code == 404
        parent.kill()
    wait_until_gone(url)


def test_it_can_be_run_by_hand() -> None:
    """The command prints its URL as a line of JSON, and exits on a signal."""
    command = [str(Path(sys.executable).with_name("workato-streams-emulator")), "--port", "0"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    with killed_at_end(process):
        assert process.stdout is not None
        url = json.loads(process.stdout.readline())["url"]
        assert requests.get(url, timeout=TIMEOUT_SECS).status_code == 404
        process.terminate()
        assert process.wait(TIMEOUT_SECS) == 0


def test_a_server_that_cannot_start_raises_an_error() -> None:
    """A port that is in use raises an error in the caller, and no process is left."""
    with Emulator.start() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="did not start"):
            Emulator.start(port=port)
