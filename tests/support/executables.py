"""Run the real executables as subprocesses, and parse the Singer messages that they write."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.fork_server import MODULES, run_forked

TIMEOUT_SECS = 60


@dataclass(frozen=True)
class Outcome:
    """The exit code, stdout and stderr of one run of an executable."""

    exit_code: int
    stdout: bytes
    stderr: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The Singer messages of a tap, in the order in which they were written."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    def records(self, stream: str | None = None) -> list[dict[str, Any]]:
        """The records of one stream, or of all streams."""
        return [
            message["record"]
            for message in self.messages
            if message["type"] == "RECORD" and stream in {None, message["stream"]}
        ]

    @property
    def states(self) -> list[dict[str, Any]]:
        """The values of a tap's STATE messages."""
        return [message["value"] for message in self.messages if message["type"] == "STATE"]

    @property
    def emitted_states(self) -> list[dict[str, Any]]:
        """The states that a target emitted, one per line of stdout."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def error_lines(self) -> list[str]:
        """The lines of stderr that report an error."""
        return [line for line in self.stderr.splitlines() if "ERROR" in line or "CRITICAL" in line]

    @property
    def warnings(self) -> list[str]:
        """The texts of the warnings on stderr."""
        return [line.split("| ")[-1] for line in self.stderr.splitlines() if "WARNING" in line]


def write_json(path: Path, value: object) -> Path:
    """Write a config, state or catalog file for an executable."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def command(name: str, *args: str | Path) -> list[str]:
    """The command line of one of the two executables of this environment."""
    return [str(Path(sys.executable).with_name(name)), *map(str, args)]


def environment(**variables: str) -> dict[str, str]:
    """The environment variables of this process, without those that configure a connector."""
    theirs = {"LOGLEVEL", "PYTHONUNBUFFERED"}
    kept = {k: v for k, v in os.environ.items() if "WORKATO_STREAMS" not in k and k not in theirs}
    return {**kept, **variables}


def run(
    name: str,
    *args: str | Path,
    stdin: bytes = b"",
    timeout: float = TIMEOUT_SECS,
    env: dict[str, str] | None = None,
) -> Outcome:
    """Run an executable until it exits; `timeout` is in seconds."""
    line, variables = command(name, *args), environment(**(env or {}))
    if name in MODULES and not any(variable.startswith("PYTHON") for variable in env or ()):
        done = run_forked(line, stdin, timeout, variables)
    else:
        done = subprocess.run(
            line, input=stdin, capture_output=True, timeout=timeout, check=False, env=variables
        )
    return Outcome(done.returncode, done.stdout, done.stderr.decode(errors="replace"))
