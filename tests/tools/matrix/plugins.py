"""The plugins under test, and their virtual environments."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".matrix"
STAND_INS = Path(__file__).parent / "stand_ins"
# Test the newest versions instead of the pinned ones.
NEWEST = bool(os.environ.get("NEWEST"))
TIMEOUT_SECS = 180


class PluginFailedError(Exception):
    """A plugin failed; the message has its name, its exit code and its last log line."""


@dataclass(frozen=True)
class Plugin:
    """A pinned distribution on PyPI, and its executable.

    Attributes:
        distribution: Its name on PyPI.
        version: The tested version.
        executable: The name of its executable.
        requirements: What else its environment needs.
        stand_in: The service that a stand-in replaces, if any.
        script: A script in `stand_ins/` that runs the plugin, if its service is replaced in the
            plugin's own process.
    """

    distribution: str
    version: str
    executable: str
    requirements: tuple[str, ...] = ()
    stand_in: str = ""
    script: str = ""

    @property
    def folder(self) -> Path:
        """Its virtual environment."""
        version = "newest" if NEWEST else self.version
        return ENVIRONMENTS / "-".join((self.distribution, version, *self.requirements))

    @property
    def path(self) -> Path:
        """Its executable."""
        return self.folder / "bin" / self.executable

    @property
    def command(self) -> list[Path]:
        """The first words of its command line."""
        return [self.python, STAND_INS / self.script] if self.script else [self.path]

    @property
    def python(self) -> Path:
        """The Python of its environment, which has the libraries to read its output."""
        return self.folder / "bin" / "python"

    def __str__(self) -> str:
        """The name in the tables."""
        notes = [*self.requirements]
        notes += [f"tested with a stand-in for {self.stand_in}"] if self.stand_in else []
        return " ".join((self.distribution, self.version, *(f"({note})" for note in notes)))

    def installed_version(self) -> str:
        """The version in its environment."""
        script = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"
        line: list[str | Path] = [self.python, "-c", script, self.distribution]
        done = subprocess.run(line, capture_output=True, text=True, check=True)
        return done.stdout.strip()


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
TARGET_SNOWFLAKE = Plugin(
    "meltanolabs-target-snowflake",
    "0.20.4",
    "target-snowflake",
    ("fakesnow==0.12.1", "snowflake-connector-python<5"),
    stand_in="Snowflake",
    script="fake_snowflake.py",
)
TARGET_S3 = Plugin("plinxore-target-s3", "0.1.7", "target-s3", stand_in="S3")
TARGET_ELASTICSEARCH = Plugin(
    "target-elasticsearch", "2.1.0", "target-elasticsearch", stand_in="Elasticsearch"
)
TAP_MONGODB = Plugin(
    "meltanolabs-tap-mongodb",
    "0.4.1",
    "tap-mongodb",
    ("mongomock==4.3.0",),
    stand_in="MongoDB",
    script="fake_mongodb.py",
)
TAP_GITHUB = Plugin("meltanolabs-tap-github", "1.30.1", "tap-github", stand_in="GitHub")
PIPELINEWISE_TAP_MYSQL = Plugin("pipelinewise-tap-mysql", "1.6.0", "tap-mysql")
TAP_REST_API = Plugin("tap-rest-api-msdk", "1.4.2", "tap-rest-api-msdk", ("setuptools<81",))
PIPELINEWISE_TAP_S3_CSV = Plugin("pipelinewise-tap-s3-csv", "3.0.1", "tap-s3-csv", stand_in="S3")
MOTO = Plugin("moto", "5.2.5", "moto_server", ("moto[server,s3]",))
MAP_TRANSFORM = Plugin("meltano-map-transform", "0.12.3", "meltano-map-transform")
TRANSFORM_FIELD = Plugin("pipelinewise-transform-field", "2.3.0", "transform-field")

PLUGINS = tuple(each for each in list(globals().values()) if isinstance(each, Plugin))

# `make matrix-bigquery` only.
TARGET_BIGQUERY = Plugin(
    "z3-target-bigquery",
    "0.7.2",
    "target-bigquery",
    ("setuptools<81", "protobuf<5"),
    stand_in="BigQuery",
    script="fake_bigquery.py",
)
BIGQUERY_EMULATOR = Plugin(
    "bqemulator",
    "1.4.0",
    "bqemulator",
    ("duckdb==1.5.5", "duckdb-extension-spatial==1.5.5", "numpy"),
)
BIGQUERY_PLUGINS = (TARGET_BIGQUERY, BIGQUERY_EMULATOR)


def install(plugin: Plugin) -> None:
    """Create the plugin's environment, unless it exists.

    Raises:
        PluginFailedError: The installation failed.
    """
    if plugin.path.exists() and not NEWEST:
        return
    pinned = plugin.distribution if NEWEST else f"{plugin.distribution}=={plugin.version}"
    requirements = [pinned, *plugin.requirements]
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
