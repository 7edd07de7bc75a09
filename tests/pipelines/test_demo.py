"""`make demo` and `make services` work as documented, and leave no processes or files behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import requests

from tests.pipelines.orchestration import processes_with
from tests.support.running import eventually, killed_at_end
from tests.tools.demo.picture import PICTURE, text_of
from tests.tools.docs import ROOT

TIMEOUT_SECS = 600

pytestmark = pytest.mark.timeout(TIMEOUT_SECS)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for sockets."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def start(folder: Path, module: str) -> subprocess.Popen[str]:
    """Start a module as `make` does; its temporary files go to `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", module],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def left_by(folder: Path) -> list[str]:
    """Return the processes that still use the folder, and the files in it."""
    return [*processes_with(str(folder)), *(path.name for path in folder.iterdir())]


def counts(output: str) -> list[str]:
    """Return the step titles and the lines with numbers; the other lines differ in each run."""
    shown = re.findall(r"^   [a-z].{43}\S.*$|^\d\. .*$", output, flags=re.MULTILINE)
    return [line for line in shown if not line.startswith("   bookmark")]


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """Read the output up to the first line that contains these words."""
    assert process.stdout is not None
    read = ""
    for line in process.stdout:
        read += line
        if words in line:
            return read
    pytest.fail(f"the process exited without writing {words!r}")


@contextmanager
def services(folder: Path) -> Iterator[dict[str, str]]:
    """Run `make services`, and return what it prints, by name; stop it at the end of the block."""
    process = start(folder, "tests.tools.demo.services")
    try:
        said = read_until(process, "or others if these are taken")
        yield dict(re.findall(r"^(?:export )?(\w+)(?:=| {2,})(\S+)$", said, re.MULTILINE))
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_SECS)


def test_the_demo_counts_the_expected_numbers(folder):
    """Rows, messages and requests are those in the picture of the README."""
    demo = start(folder, "tests.tools.demo")
    output, _ = demo.communicate(timeout=TIMEOUT_SECS)
    assert demo.returncode == 0, output
    assert counts(output) == counts(text_of(PICTURE.read_text(encoding="utf-8")))
    assert left_by(folder) == []


@pytest.mark.parametrize(
    ("words", "number"),
    [
        ("1. The emulator", signal.SIGINT),
        ("2. meltano run", signal.SIGTERM),
        ("3. meltano run", signal.SIGINT),
        ("3. meltano run", signal.SIGTERM),
    ],
)
def test_an_interrupted_demo_leaves_nothing_behind(words, number, folder):
    demo = start(folder, "tests.tools.demo")
    read_until(demo, words)
    time.sleep(0.5)
    os.killpg(demo.pid, number) if number == signal.SIGINT else demo.send_signal(number)
    output, _ = demo.communicate(timeout=TIMEOUT_SECS)
    assert demo.returncode == 128 + number, output
    assert "Traceback" not in output
    eventually(lambda: not left_by(folder), "the end of all processes and files")


def test_the_services_run_until_they_are_stopped(folder):
    with services(folder) as printed:
        headers = {"Authorization": f"Bearer {printed['api_token']}"}
        for topic, count in ((11, 50), (12, 0)):
            url = f"{printed['api_url']}/api/v1/topics/{topic}/consume"
            page = requests.post(url, json={}, headers=headers, timeout=10).json()
            assert len(page["messages"]) == count
        with psycopg.connect(printed["PostgreSQL"]) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)
    # What the README's project needs; Meltano's state stays in the project.
    assert {"WORKATO_API_TOKEN", "TAP_WORKATO_STREAMS_API_URL", "WAREHOUSE_URL"} <= printed.keys()
    assert not any("MELTANO" in name for name in printed)
    assert left_by(folder) == []


def test_the_services_keep_their_ports(folder):
    """The URLs are the same at each start, so that variables stay valid; all of them use TCP."""

    def urls() -> tuple[str, str]:
        with services(folder) as printed:
            emulator, warehouse = printed["EVENT_STREAMS_URL"], printed["WAREHOUSE_URL"]
            # tap-postgres needs a host; target-postgres also accepts a socket.
            with psycopg.connect(warehouse.replace("+psycopg2", "")) as connection:
                assert connection.info.host == "127.0.0.1"
        return emulator, warehouse

    first = urls()
    assert urls() == first
    with socket.create_server(("127.0.0.1", urlsplit(first[0]).port or 0)):
        emulator, warehouse = urls()
    assert emulator != first[0]
    assert warehouse == first[1]


# A client that holds a lock, and has not read a result: the kernel resets its connection.
LOCKING = """
import select, sys, psycopg
connection = psycopg.connect(sys.argv[1])
connection.execute("CREATE TABLE loaded (n int)")
connection.commit()
connection.execute("LOCK TABLE loaded")
connection.pgconn.send_query(b"SELECT 1")
select.select([connection.fileno()], [], [])
print("locked", flush=True)
input()
"""


def test_a_killed_client_leaves_no_locks_in_the_database(folder):
    """The next load would wait for them forever."""
    with services(folder) as variables:
        url = variables["WAREHOUSE_URL"].replace("+psycopg2", "")
        client = subprocess.Popen(
            [sys.executable, "-c", LOCKING, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        with killed_at_end(client):
            assert client.stdout
            assert client.stdout.readline() == b"locked\n"
            client.kill()
        with psycopg.connect(url) as connection:
            connection.execute("SET lock_timeout = '30s'")
            connection.execute("INSERT INTO loaded VALUES (1)")
