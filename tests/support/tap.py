"""Fixtures that run the tap, and a tap that runs during a test."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.support.executables import Outcome, command, environment, run, write_json
from tests.support.running import Running, eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workato_streams_emulator import Emulator

# What the end of a run may take; the promise is two seconds, and this machine may be busy.
END_SECS = 5.0


class RunningTap(Running):
    """A process of the tap."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("tap-workato-streams", *args, env=env)

    @property
    def so_far(self) -> Outcome:
        """The outcome so far; the exit code is meaningless while the tap runs."""
        code = self._process.poll()
        return Outcome(-1 if code is None else code, self.stdout, self.stderr)

    def wait_for(self, condition: Callable[[Outcome], object], what: str) -> None:
        """Wait until the output meets a condition; fail at once if the tap ends before."""

        def met() -> bool:
            running = self.is_running
            if condition(self.so_far):
                return True
            assert running, f"the tap ended before: {what}\n{self.stderr}"
            return False

        eventually(met, what)

    def wait_for_records(self, count: int) -> None:
        """Wait for this many RECORD lines."""
        self.wait_for(lambda run: len(run.records()) >= count, f"{count} records")

    def wait_for_bookmark(self, stream: str, message_id: str) -> None:
        """Wait for a STATE line with this bookmark."""
        self.wait_for(
            lambda run: run.states and bookmark(run.states[-1], stream) == message_id,
            f"bookmark {message_id} of {stream}",
        )


def bookmark(state: dict[str, Any], stream: str) -> str | None:
    """Return the message id that a state contains for a stream."""
    value: str | None = state.get("bookmarks", {}).get(stream, {}).get("replication_key_value")
    return value


def start_with_pipe(
    config: Path, stderr: int = subprocess.PIPE, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a tap whose stdout is read only by the test, if at all."""
    return subprocess.Popen(
        command("tap-workato-streams", "--config", config),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=environment(**variables),
    )


def read_slowly(process: subprocess.Popen[bytes], *, chunk_bytes: int, rest_secs: float) -> Outcome:
    """Read the output of a tap to its end, one chunk at a time with a pause after it."""
    assert process.stdout
    written = bytearray()
    while chunk := os.read(process.stdout.fileno(), chunk_bytes):
        written += chunk
        time.sleep(rest_secs)
    _, stderr = process.communicate()
    return Outcome(process.returncode, bytes(written), stderr.decode())


class TapConfig(Protocol):
    """Writes a config file for the emulator; a topic may be given as its id only."""

    def __call__(self, **settings: Any) -> Path:  # noqa: ANN401 - settings are JSON
        """Return the file; settings that are None are left out."""


class RunTap(Protocol):
    """Runs the tap's executable to its end; a state may be the text of the file."""

    def __call__(  # noqa: D102
        self,
        *args: str | Path,
        state: dict[str, Any] | str | None = None,
        catalog: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> Outcome: ...


class StartTap(Protocol):
    """Starts the tap's executable, and kills it at the end of the test."""

    def __call__(  # noqa: D102
        self,
        *args: str | Path,
        state: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> RunningTap: ...


@pytest.fixture
def tap_config(emulator: Emulator, tmp_path: Path) -> TapConfig:
    """Write a config file for the emulator."""

    def write(**settings: Any) -> Path:  # noqa: ANN401
        config = {"api_url": emulator.url, "api_token": emulator.token, **settings}
        if topics := config.get("topics"):
            config["topics"] = [{"id": t} if isinstance(t, int) else t for t in topics]
        kept = {name: value for name, value in config.items() if value is not None}
        return write_json(tmp_path / "config.json", kept)

    return write


@pytest.fixture
def run_tap(tap_config: TapConfig, tmp_path: Path) -> RunTap:
    """Run the tap against the emulator, with a state and a catalog if given."""

    def run_it(
        *args: str | Path,
        state: dict[str, Any] | str | None = None,
        catalog: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> Outcome:
        files = ["--config", tap_config(**settings), *_state_file(tmp_path, state)]
        if catalog is not None:
            files += ["--catalog", write_json(tmp_path / "catalog.json", catalog)]
        return run("tap-workato-streams", *files, *args, env=env)

    return run_it


@pytest.fixture
def start_tap(tap_config: TapConfig, tmp_path: Path) -> Iterator[StartTap]:
    """Start the tap against the emulator, without waiting for its end."""
    started = []

    def start(
        *args: str | Path,
        state: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> RunningTap:
        files = ["--config", tap_config(**settings), *_state_file(tmp_path, state)]
        tap = RunningTap(*files, *args, env=env)
        started.append(tap)
        return tap

    yield start
    for tap in started:
        tap.kill()


def _state_file(folder: Path, state: dict[str, Any] | str | None) -> list[str | Path]:
    if isinstance(state, str):
        path = folder / "state.json"
        path.write_text(state, encoding="utf-8")
        return ["--state", path]
    return [] if state is None else ["--state", write_json(folder / "state.json", state)]
