"""The plugins under test, and their virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uv import find_uv_bin

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".matrix"
TIMEOUT_SECS = 180


class PluginFailedError(Exception):
    """A plugin failed; the message has its name, its exit code and its last log line."""


@dataclass(frozen=True)
class Plugin:
    """A pinned distribution on PyPI, and its executable."""

    distribution: str
    version: str
    executable: str
    requirements: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """Its virtual environment."""
        return ENVIRONMENTS / "-".join((self.distribution, self.version, *self.requirements))

    @property
    def path(self) -> Path:
        """Its executable."""
        return self.folder / "bin" / self.executable

    @property
    def python(self) -> Path:
        """The Python of its environment, which has the libraries to read its output."""
        return self.folder / "bin" / "python"

    def __str__(self) -> str:
        """The name in the tables."""
        return " ".join((self.distribution, self.version, *(f"({r})" for r in self.requirements)))


TAP_JSONL = Plugin("tap-jsonl", "0.3.1", "tap-jsonl")
TAP_SPREADSHEETS = Plugin("tap-spreadsheets", "1.1.2", "tap-spreadsheets")
MELTANOLABS_TAP_POSTGRES = Plugin("meltanolabs-tap-postgres", "0.10.0", "tap-postgres")
PIPELINEWISE_TAP_POSTGRES = Plugin("pipelinewise-tap-postgres", "2.1.0", "tap-postgres")
MELTANOLABS_TARGET_POSTGRES = Plugin("meltanolabs-target-postgres", "0.8.1", "target-postgres")
PIPELINEWISE_TARGET_POSTGRES = Plugin("pipelinewise-target-postgres", "2.1.2", "target-postgres")
TARGET_JSONL = Plugin("target-jsonl", "0.1.4", "target-jsonl")
MELTANOLABS_TARGET_CSV = Plugin("meltanolabs-target-csv", "0.5.0", "target-csv")
TARGET_DUCKDB = Plugin("target-duckdb", "0.8.0", "target-duckdb")
TARGET_DUCKDB_OLD = Plugin("target-duckdb", "0.8.0", "target-duckdb", ("duckdb==1.0.0",))
MAP_TRANSFORM = Plugin("meltano-map-transform", "0.12.3", "meltano-map-transform")
TRANSFORM_FIELD = Plugin("pipelinewise-transform-field", "2.3.0", "transform-field")

PLUGINS = tuple(each for each in list(globals().values()) if isinstance(each, Plugin))


def install(plugin: Plugin) -> None:
    """Create the plugin's environment, unless it exists.

    Raises:
        PluginFailedError: The installation failed.
    """
    if plugin.path.exists():
        return
    requirements = [f"{plugin.distribution}=={plugin.version}", *plugin.requirements]
    _uv("venv", "--quiet", "--clear", "--python", sys.executable, str(plugin.folder))
    _uv("pip", "install", "--quiet", "--python", str(plugin.python), *requirements)


def run(
    command: Sequence[str | Path],
    *,
    stdin: Path | None = None,
    stdout: Path | None = None,
) -> None:
    """Run an executable with files as stdin and stdout.

    Raises:
        PluginFailedError: The exit code is not 0.
    """
    with (
        (stdin or Path(os.devnull)).open("rb") as source,
        (stdout or Path(os.devnull)).open("wb") as sink,
    ):
        done = subprocess.run(
            [*map(str, command)],
            stdin=source,
            stdout=sink,
            stderr=subprocess.PIPE,
            timeout=TIMEOUT_SECS,
            check=False,
        )
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["(nothing logged)"]
        name = Path(command[0]).name
        raise PluginFailedError(f"{name} failed with exit code {done.returncode}: {lines[-1]}")


def _uv(*arguments: str) -> None:
    kept = {name: text for name, text in os.environ.items() if name != "UV_PROJECT_ENVIRONMENT"}
    # This project's uv settings apply to its own packages, not to the plugins.
    command = [find_uv_bin(), "--no-config", *arguments]
    run_uv = subprocess.run(command, env=kept, capture_output=True, text=True, check=False)
    if run_uv.returncode:
        raise PluginFailedError(run_uv.stderr.strip())
