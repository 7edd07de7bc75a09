"""Fixtures that run the tap, and a tap that runs during a test."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.executables import Outcome, command, environment, run
from tests.support.injection import with_state_interval
from tests.support.running import Running, eventually, killed_at_end

# What the end of a run may take; the promise is two seconds, and this machine may be busy.
END_SECS = 5.0

# The types of the fixtures.
TapConfig = Callable[..., Path]
RunTap = Callable[..., Outcome]


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


def deselect(catalog: dict[str, Any], *breadcrumb: str) -> None:
    """Deselect a property of the first stream, or the stream itself."""
    [metadata] = [
        entry["metadata"]
        for entry in catalog["streams"][0]["metadata"]
        if entry["breadcrumb"] == list(breadcrumb)
    ]
    metadata["selected"] = False


def read_slowly(process: subprocess.Popen[bytes], *, chunk_bytes: int, rest_secs: float) -> Outcome:
    """Read the output of a tap to its end, one chunk at a time with a pause after it."""
    assert process.stdout
    written = bytearray()
    while chunk := os.read(process.stdout.fileno(), chunk_bytes):
        written += chunk
        time.sleep(rest_secs)
    _, stderr = process.communicate()
    return Outcome(process.returncode, bytes(written), stderr.decode())


@pytest.fixture
def tap_config(write_config: Callable[..., Path]) -> TapConfig:
    """Write a config file for the emulator; a topic may be given as its id only."""

    def write(topics: Any = None, **settings: Any) -> Path:  # noqa: ANN401 - settings are JSON
        if isinstance(topics, list):
            topics = [{"id": topic} if isinstance(topic, int) else topic for topic in topics]
        return write_config(topics=topics, **settings)

    return write


@pytest.fixture
def tap_options(tap_config: TapConfig, tmp_path: Path) -> Callable[..., list[str | Path]]:
    """Write a config file, and a state and a catalog if given; return the options for them."""

    def write(
        state: dict[str, Any] | str | None = None,
        catalog: dict[str, Any] | None = None,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> list[str | Path]:
        options: list[str | Path] = ["--config", tap_config(**settings)]
        for name, content in (("state", state), ("catalog", catalog)):
            if content is not None:
                text = content if isinstance(content, str) else json.dumps(content)
                path = tmp_path / f"{name}.json"
                path.write_text(text, encoding="utf-8")
                options += [f"--{name}", path]
        return options

    return write


@pytest.fixture
def run_tap(tap_options: Callable[..., list[str | Path]], tmp_path: Path) -> RunTap:
    """Run the tap to its end; `state` may be the text of the file."""

    def run_it(
        *args: str | Path,
        env: dict[str, str] | None = None,
        state_interval_secs: float | None = None,
        **given: Any,  # noqa: ANN401 - settings are JSON
    ) -> Outcome:
        env = with_state_interval(tmp_path, state_interval_secs, env)
        return run("tap-workato-streams", *tap_options(**given), *args, env=env)

    return run_it


def discover(run_tap: RunTap, **settings: Any) -> Any:  # noqa: ANN401 - settings and catalog are JSON
    """Return the catalog that the tap discovers."""
    return json.loads(run_tap("--discover", **settings).stdout)


@pytest.fixture
def start_tap(
    tap_options: Callable[..., list[str | Path]], tmp_path: Path
) -> Iterator[Callable[..., RunningTap]]:
    """Start the tap, and kill it at the end of the test."""
    with ExitStack() as stack:

        def start(
            *args: str | Path,
            env: dict[str, str] | None = None,
            state_interval_secs: float | None = None,
            **given: Any,  # noqa: ANN401 - settings are JSON
        ) -> RunningTap:
            env = with_state_interval(tmp_path, state_interval_secs, env)
            tap = RunningTap(*tap_options(**given), *args, env=env)
            stack.callback(tap.kill)
            return tap

        yield start


@pytest.fixture
def start_with_pipe(
    tap_config: TapConfig, tmp_path: Path
) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Start a tap whose stdout is read only by the test, if at all; kill it at the end."""
    with ExitStack() as stack:

        def start(
            stderr: int = subprocess.PIPE,
            env: dict[str, str] | None = None,
            state_interval_secs: float | None = None,
            **settings: Any,  # noqa: ANN401 - settings are JSON
        ) -> subprocess.Popen[bytes]:
            env = with_state_interval(tmp_path, state_interval_secs, env)
            process = subprocess.Popen(
                command("tap-workato-streams", "--config", tap_config(**settings)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(**(env or {})),
            )
            return stack.enter_context(killed_at_end(process))

        yield start
