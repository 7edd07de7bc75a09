"""Fixtures that run the target, and a target that runs during a test."""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from typing_extensions import override

from tests.support.executables import run, write_json
from tests.support.running import Running
from tests.support.singer_lines import lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.support.executables import Outcome


class RunningTarget(Running):
    """A process of the target whose input stays open until the test closes it."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("target-workato-streams", *args, stdin=subprocess.PIPE, env=env)

    def feed(self, *lines: bytes) -> None:
        """Write lines to its input; blocks while the target does not read."""
        self.feed_bytes(b"".join(line + b"\n" for line in lines))

    def feed_bytes(self, text: bytes) -> None:
        """Write a piece of its input, which need not end where a line does."""
        assert self._process.stdin is not None
        left = memoryview(text)
        while left:
            left = left[self._process.stdin.write(left) :]

    def feed_and_close(self, lines: list[bytes]) -> None:
        """Write lines to its input and end it, while the test goes on."""

        def feed() -> None:
            with contextlib.suppress(BrokenPipeError):
                self.feed(*lines)
            self.close_input()

        threading.Thread(target=feed, daemon=True).start()

    def close_input(self) -> None:
        """End its input."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    @property
    def emitted(self) -> list[Any]:
        """The states emitted so far: the values that `singer.state` was given."""
        return [json.loads(line)["at"] for line in self.stdout.splitlines()]

    @override
    def kill(self) -> Outcome:
        """Kill the process, and give its input back."""
        outcome = super().kill()
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        return outcome


class TargetConfig(Protocol):
    """Writes a config file for the emulator."""

    def __call__(self, **settings: Any) -> Path:  # noqa: ANN401 - settings are JSON
        """Return the file; a setting that is None is left out."""


class RunTarget(Protocol):
    """Runs the target's executable to its end."""

    def __call__(  # noqa: D102
        self,
        *fed: bytes,
        args: Sequence[str | Path] = (),
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> Outcome: ...


class StartTarget(Protocol):
    """Starts the target's executable, which is killed at the end of the test if it still runs."""

    def __call__(  # noqa: D102
        self,
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> RunningTarget: ...


@pytest.fixture
def topic(emulator: Emulator) -> int:
    """A topic without a schema, to which all streams go unless a test says otherwise."""
    return emulator.create_topic("orders")


@pytest.fixture
def checked(emulator: Emulator) -> int:
    """A topic that accepts only integer ids."""
    return emulator.create_topic(
        "checked", schema=[{"name": "id", "type": "integer", "optional": False}]
    )


def dead_letters_in(path: Path) -> dict[str, Any]:
    """Return the settings that write rejected messages to a file."""
    return {"on_rejected": "dead_letter", "dead_letter_path": str(path)}


@pytest.fixture
def target_config(emulator: Emulator, topic: int, tmp_path: Path) -> TargetConfig:
    """Settings for the emulator, in a file."""

    def write(**settings: Any) -> Path:  # noqa: ANN401
        config = {
            "api_url": emulator.url,
            "api_token": emulator.token,
            "default_topic_id": topic,
            **settings,
        }
        kept = {name: value for name, value in config.items() if value is not None}
        return write_json(tmp_path / "config.json", kept)

    return write


@pytest.fixture
def run_target(target_config: TargetConfig) -> RunTarget:
    """Feed the target with lines, and let it run to its end."""

    def run_it(
        *fed: bytes,
        args: Sequence[str | Path] = (),
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401
    ) -> Outcome:
        config = target_config(**settings)
        files = ("--config", config, *args)
        return run("target-workato-streams", *files, stdin=lines(*fed), env=env)

    return run_it


@pytest.fixture
def start_target(target_config: TargetConfig) -> Iterator[StartTarget]:
    """Start the target, and go on while it runs."""
    started = []

    def start(env: dict[str, str] | None = None, **settings: Any) -> RunningTarget:  # noqa: ANN401
        target = RunningTarget("--config", target_config(**settings), env=env)
        started.append(target)
        return target

    yield start
    for target in started:
        target.kill()
