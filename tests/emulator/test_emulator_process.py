"""The server process: it starts, keeps its data if requested, and leaves no process behind."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from workato_streams_emulator import Emulator

from tests.support.running import eventually, killed_at_end

TIMEOUT_SECS = 30
# Starts an emulator, prints its URL, and waits to be killed.
PARENT = """
import time
from workato_streams_emulator import Emulator
print(Emulator.start().url, flush=True)
time.sleep(600)
"""


def is_gone(url: str) -> bool:
    """Whether no process listens at `url`."""
    try:
        assert requests.get(url, timeout=TIMEOUT_SECS).status_code == 404
    except requests.ConnectionError:
        return True
    return False


def test_a_file_outlives_the_process(tmp_path):
    """With `database`, the next process has the same topics and messages, and can use the port."""
    with Emulator.start(database=tmp_path / "emulator.db") as first:
        topic = first.create_topic(schema=[{"name": "n", "type": "integer"}])
        ids = first.load(topic, [{"n": n} for n in range(3)])
        first.expire(topic, ids[2])
        port = int(first.url.rpartition(":")[2])
    eventually(lambda: is_gone(first.url), "the end of the process")
    with Emulator.start(database=tmp_path / "emulator.db", port=port) as second:
        assert second.url == first.url
        [new] = second.load(topic, [{"n": 3}])
        assert new not in ids
        second.expire(topic, new)
        assert second.payloads(topic) == []


def test_no_two_servers_have_the_same_ids():
    """Nor does a server after a reset, so a bookmark of another session is never valid."""
    with Emulator.start() as one, Emulator.start() as other:
        ids = [each.load(each.create_topic(), [{}] * 100) for each in (one, other)]
        one.reset()
        ids.append(one.load(one.create_topic(), [{}] * 100))
    assert len({each for load in ids for each in load}) == 300


def test_stopping_does_not_wait_for_long_polls():
    with Emulator.start() as emulator:
        path = f"/api/v1/topics/{emulator.create_topic()}/consume"
        headers = {"Authorization": f"Bearer {emulator.token}"}
        emulator.fault("stall", secs=600)
        with pytest.raises(requests.ReadTimeout):
            requests.post(emulator.url + path, headers=headers, timeout=0.2)
    eventually(lambda: is_gone(emulator.url), "the end of the process")


def test_the_server_exits_if_its_parent_is_killed():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    with killed_at_end(parent):
        assert parent.stdout
        url = parent.stdout.readline().decode().strip()
        assert not is_gone(url)
    eventually(lambda: is_gone(url), "the end of the process")


def test_the_command_prints_how_to_use_it_and_exits_on_a_signal(tmp_path):
    def usage() -> str:
        return Path(tmp_path, "usage").read_text(encoding="utf-8")

    command = Path(sys.executable).with_name("workato-streams-emulator")
    with (tmp_path / "usage").open("w") as stderr:
        process = subprocess.Popen(
            [command, "--port=0"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )
    with killed_at_end(process):
        assert process.stdout
        url = json.loads(process.stdout.readline())["url"]
        assert not is_gone(url)
        eventually(lambda: "/publish" in usage(), "the usage")
        commands = usage().partition("curl")
        script = "set -e\n" + "".join(commands[1:])
        done = subprocess.run(
            ["/bin/sh", "-c", script], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert '"message_id"' in done.stdout
        process.terminate()
        assert process.wait(TIMEOUT_SECS) == 0


def test_a_server_that_cannot_start_raises_an_error():
    with Emulator.start() as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(RuntimeError, match="did not start"):
            Emulator.start(port=port)
