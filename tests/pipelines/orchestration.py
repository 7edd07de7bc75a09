"""A Meltano project with two real loaders, and pipelines that read a topic in tail mode."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import psycopg
import yaml

from tests.support.running import eventually
from tests.tools.demo.project import MELTANO, Project, copy_definitions, environment
from tests.tools.demo.services import ROOT, TOPIC_ID

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from workato_streams_emulator import Emulator

RUN_SH = ROOT / "orchestrate" / "run.sh"
TAP = "tap-workato-streams"

TARGET_JSONL = {
    "name": "target-jsonl",
    "namespace": "target_jsonl",
    "pip_url": "target-jsonl==0.1.4",
    "executable": "target-jsonl",
    "settings": [
        {"name": "destination_path"},
        {"name": "do_timestamp_file", "kind": "boolean"},
    ],
    "config": {"destination_path": ".", "do_timestamp_file": False},
}


class Pipeline:
    """A command that runs a pipeline in a project, and writes its output to a file."""

    def __init__(self, project: Path, env: dict[str, str], command: Sequence[str | Path]) -> None:
        self._log = project / "run.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, cwd=project, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        """The output of the command and its descendants so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the command only."""
        self._process.send_signal(number)

    def end(self, *, within: float = 60) -> int:
        """Wait until the command exits, and return its exit code.

        Raises:
            AssertionError: The command has not exited after `within` seconds.
        """
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {within:.0f} s:\n{self.log}") from None

    def kill(self) -> None:
        """Kill the command and its descendants if they are still running."""
        if self._process.poll() is None:
            for process in self.descendants():
                process.kill()
            self._process.kill()
            self._process.wait()

    def descendants(self) -> list[psutil.Process]:
        """The descendants of the command."""
        return psutil.Process(self._process.pid).children(recursive=True)


class Pipelines:
    """A Meltano project in the folder `root`, in which TAP tails the topic `orders`."""

    def __init__(self, root: Path, variables: dict[str, str]) -> None:
        self.root = root
        self._project = Project(root, variables)
        self.variables = environment(
            {
                "PATH": f"{MELTANO.parent}:{os.environ['PATH']}",
                "MELTANO_ENVIRONMENT": "dev",
                "TAP_WORKATO_STREAMS_TAIL": "true",
                **variables,
            }
        )
        self.meltano = self._project.meltano

    @contextmanager
    def run(self, *command: str | Path) -> Iterator[Pipeline]:
        """Start a command in the project; kill it at the end of the block if it still runs."""
        pipeline = Pipeline(self.root, self.variables, command)
        try:
            yield pipeline
        finally:
            pipeline.kill()

    def position(self, loader: str, suffix: str | None = None) -> str | None:
        """The message id in the pipeline's stored state, or None without a state."""
        state_id = ":".join(filter(None, ("dev", f"{TAP}-to-{loader}", suffix)))
        text = self.meltano("state", "get", state_id)
        bookmarks = json.loads(text or "{}").get("singer_state", {}).get("bookmarks", {})
        position: str | None = bookmarks.get("orders", {}).get("replication_key_value")
        return position

    def rows(self) -> set[str] | None:
        """The message ids in the database; None before the loader has created the table."""
        url = self.variables["WAREHOUSE_URL"].replace("+psycopg2", "")
        with psycopg.connect(url) as connection:
            try:
                rows = connection.execute("SELECT message_id FROM event_streams.orders")
            except psycopg.errors.UndefinedTable:
                return None
            return {message_id for (message_id,) in rows}

    def processes(self) -> list[str]:
        """The running plugins of this project."""
        return [
            " ".join(process.info["cmdline"])
            for process in psutil.process_iter(["cmdline"])
            if any(f"{self.root}/.meltano/run/" in part for part in process.info["cmdline"] or ())
        ]


def tailing(emulator: Emulator) -> bool:
    """Whether the tap has read the whole topic, and waits for new messages."""
    last = emulator.messages(TOPIC_ID)[-1].message_id.encode()
    requests = emulator.requests(operation="consume")
    return bool(requests) and requests[-1].status is None and last in requests[-1].body


def wait_until_tailing(emulator: Emulator) -> None:
    """Wait until the tap has read the whole topic, and waits for new messages."""
    eventually(lambda: tailing(emulator), "the end of the topic")


@contextmanager
def warehouse_url() -> Iterator[str]:
    """Run a PostgreSQL in a separate process, because a process can start only one."""
    services = subprocess.Popen(
        [sys.executable, "-m", "tests.tools.demo.services", "0", "0"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert services.stdout is not None
        lines = iter(services.stdout.readline, "")
        export = next(line for line in lines if line.startswith("export WAREHOUSE_URL="))
        yield shlex.split(export)[1].partition("=")[2]
    finally:
        services.terminate()
        services.communicate()


def lay_out(root: Path) -> None:
    """Write the project's `meltano.yml`, with the connectors of this environment."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    loaders = project["plugins"]["loaders"]
    loaders.append(TARGET_JSONL)
    for plugin in [*project["plugins"]["extractors"], *loaders]:
        if plugin["name"].endswith("-workato-streams"):
            del plugin["pip_url"]
            plugin["executable"] = str(MELTANO.parent / plugin["name"])
    text = yaml.safe_dump(project, sort_keys=False)
    (root / "meltano.yml").write_text(text, encoding="utf-8")
    copy_definitions(ROOT, root)
