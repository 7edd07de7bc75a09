"""Run `meltano` in this project, as a user does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

MELTANO = Path(sys.executable).parent / "meltano"
END_SECS = 10


# Variables that configure Meltano, the plugins, and the examples in orchestrate/.
_PREFIXES = ("MELTANO_", "TAP_", "TARGET_", "AIRFLOW_", "DAGSTER_", "PIPELINE_")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with these settings instead of the user's."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(_PREFIXES)}
    return {**kept, **variables}


class MeltanoFailedError(Exception):
    """A `meltano` command failed; the message contains its whole output."""


class Project:
    """The project in the folder `root`, in its `dev` environment, with these variables.

    Variables in the user's environment that configure Meltano or the plugins have no effect.
    """

    def __init__(self, root: Path, variables: Mapping[str, str]) -> None:
        self._variables = environment(variables)
        self._root = root

    def meltano(self, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """Run a command until it exits, and return its output.

        Raises:
            MeltanoFailedError: The exit code is not 0.
        """
        with tempfile.TemporaryFile() as log:
            process = self.start(*arguments, variables=variables, log=log)
            try:
                output, _ = process.communicate()
            except BaseException:
                _end(process)
                raise
            if process.returncode:
                log.seek(0)
                said = log.read().decode(errors="replace")
                raise MeltanoFailedError(f"meltano {' '.join(arguments)} failed:\n{said}")
        return output

    def start(
        self,
        *arguments: str,
        variables: Mapping[str, str] | None = None,
        log: IO[bytes] | int = subprocess.DEVNULL,
    ) -> subprocess.Popen[str]:
        """Start a command in a new session, so that it can be stopped together with its plugins."""
        return subprocess.Popen(
            [str(MELTANO), "--environment=dev", *arguments],
            cwd=self._root,
            env={**self._variables, **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )


def copy_sources(source: Path, copy: Path) -> None:
    """Copy a folder without bytecode, which other processes may be writing."""
    shutil.copytree(source, copy, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))


def copy_definitions(root: Path, folder: Path) -> None:
    """Copy the lock files to a project whose connectors are already installed.

    Without a `pip_url`, Meltano does not try to install them.
    """
    for path in (root / "plugins").glob("*/*.lock"):
        definition = json.loads(path.read_text(encoding="utf-8"))
        if definition["variant"] == "workato-streams":
            del definition["pip_url"]
        copy = folder / path.relative_to(root)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(json.dumps(definition), encoding="utf-8")


def _end(process: subprocess.Popen[str]) -> None:
    """Stop a process and its descendants, and wait until they have exited."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(END_SECS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
