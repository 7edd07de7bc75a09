"""A Meltano project with two real loaders, and pipelines that read a topic in tail mode."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import yaml
from workato_streams_emulator import Emulator

from tests.support.running import eventually
from tests.support.tap import bookmark
from tests.tools.demo.project import MELTANO, Project, copy_definitions, environment
from tests.tools.demo.services import ROOT, TOPIC_ID
from tests.tools.demo.warehouse import Warehouse

RUN_SH = ROOT / "orchestrate" / "run.sh"
TAP = "tap-workato-streams"

TARGET_JSONL = {
    "name": "target-jsonl",
    "namespace": "target_jsonl",
    "pip_url": "target-jsonl==0.1.4",
    "executable": "target-jsonl",
    "settings": [{"name": "destination_path"}, {"name": "do_timestamp_file", "kind": "boolean"}],
    "config": {"destination_path": ".", "do_timestamp_file": False},
}


def definition() -> dict[str, Any]:
    """Return the content of `meltano.yml`, with the connectors of this environment."""
    return installed(yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8")))


def installed(content: dict[str, Any]) -> dict[str, Any]:
    """Use the connectors of this environment instead of installing them."""
    for plugins in content["plugins"].values():
        for plugin in plugins:
            if plugin["name"].endswith("-workato-streams"):
                plugin.pop("pip_url", None)
                plugin["executable"] = str(MELTANO.parent / plugin["name"])
    return content


def lay_out(root: Path, content: dict[str, Any]) -> None:
    """Write a project's `meltano.yml`, and the definitions of the plugins."""
    text = yaml.safe_dump(content, sort_keys=False)
    (root / "meltano.yml").write_text(text, encoding="utf-8")
    copy_definitions(ROOT, root)
    (root / "output").mkdir(exist_ok=True)


def connection(emulator: Emulator) -> dict[str, str]:
    """Return the variables with which the project and the orchestrators use the emulator."""
    variables = {"WORKATO_API_TOKEN": emulator.token, "EVENT_STREAMS_URL": emulator.url}
    return {**variables, **emulator.variables}


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
        """Wait until the command exits, and return its exit code."""
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

    def __init__(self, root: Path, emulator: Emulator, database: Warehouse) -> None:
        variables = {**connection(emulator), "WAREHOUSE_URL": database.url}
        self.root = root
        self.meltano = Project(root, variables).meltano
        self._database = database
        self.variables = environment(
            {
                "PATH": f"{MELTANO.parent}:{os.environ['PATH']}",
                "TAP_WORKATO_STREAMS_TAIL": "true",
                **variables,
            }
        )

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
        state = json.loads(self.meltano("state", "get", state_id) or "{}")
        return bookmark(state.get("singer_state", {}), "orders")

    def rows(self) -> set[str] | None:
        """The message ids in the database; None before the loader has created the table."""
        try:
            rows = self._database.query("SELECT message_id FROM event_streams.orders")
        except psycopg.errors.UndefinedTable:
            return None
        return {message_id for (message_id,) in rows}


def processes_with(text: str) -> list[str]:
    """Return the command lines of running processes that contain a text."""
    lines = (" ".join(each.info["cmdline"] or ()) for each in psutil.process_iter(["cmdline"]))
    return [line for line in lines if text in line]


def kill_once_counted(
    run: subprocess.Popen[str],
    count: Callable[[], int],
    *,
    after_secs: float = 0.0,
    more: int = 0,
) -> bool:
    """Kill a run of `meltano` some time after what it writes has grown; whether it still ran."""
    known = count() + more
    try:
        while run.poll() is None and count() <= known:
            time.sleep(0.05)
        time.sleep(after_secs)
        return run.poll() is None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.communicate()


def tailing(emulator: Emulator) -> bool:
    """Whether the tap has read the whole topic, and waits for new messages."""
    last = emulator.messages(TOPIC_ID)[-1].message_id.encode()
    requests = emulator.requests(operation="consume")
    return bool(requests) and requests[-1].status is None and last in requests[-1].body


def wait_until_tailing(emulator: Emulator) -> None:
    """Wait until the tap has read the whole topic, and waits for new messages."""
    eventually(lambda: tailing(emulator), "the end of the topic")
