"""Fixtures that run the target, and a target that runs during a test."""

import contextlib
import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.executables import Outcome, run
from tests.support.running import Running, eventually, unread
from tests.support.singer_lines import lines


class RunningTarget(Running):
    """A process of the target whose input stays open until the test closes it."""

    def __init__(self, *args: str | Path, env: dict[str, str] | None = None) -> None:
        super().__init__("target-workato-streams", *args, stdin=subprocess.PIPE, env=env)
        assert self._process.stdin
        self._input = self._process.stdin

    def feed(self, *fed: bytes) -> None:
        """Write lines to its input; blocks while the target does not read."""
        self.feed_bytes(lines(*fed))

    def feed_bytes(self, text: bytes) -> None:
        """Write a piece of its input, which need not end where a line does."""
        left = memoryview(text)
        while left:
            left = left[self._input.write(left) :]

    def await_read(self) -> None:
        """Wait until it has read all of its input so far."""
        eventually(lambda: unread(self._input) == 0, "an empty pipe")

    def feed_and_close(self, fed: list[bytes]) -> None:
        """Write lines to its input and end it, while the test goes on."""

        def feed() -> None:
            with contextlib.suppress(BrokenPipeError):
                self.feed(*fed)
            self.close_input()

        threading.Thread(target=feed, daemon=True).start()

    def close_input(self) -> None:
        """End its input."""
        self._input.close()

    @property
    def emitted(self) -> list[Any]:
        """The states emitted so far: the values that `singer.state` was given."""
        return [json.loads(line)["at"] for line in self.stdout.splitlines()]


# The types of the fixtures.
TargetConfig = Callable[..., Path]
RunTarget = Callable[..., Outcome]
StartTarget = Callable[..., RunningTarget]


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
    return {"dead_letter_path": str(path)}


@pytest.fixture
def target_config(write_config: Callable[..., Path], topic: int) -> TargetConfig:
    """Write a config file for the emulator."""
    return partial(write_config, topics={"*": topic})


@pytest.fixture
def run_target(target_config: TargetConfig) -> RunTarget:
    """Feed the target with lines, and let it run to its end."""

    def run_it(
        *fed: bytes,
        args: Sequence[str | Path] = (),
        env: dict[str, str] | None = None,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> Outcome:
        files = ("--config", target_config(**settings), *args)
        return run("target-workato-streams", *files, stdin=lines(*fed), env=env)

    return run_it


@pytest.fixture
def start_target(target_config: TargetConfig) -> Iterator[StartTarget]:
    """Start the target, and kill it at the end of the test."""
    with contextlib.ExitStack() as stack:

        def start(env: dict[str, str] | None = None, **settings: Any) -> RunningTarget:  # noqa: ANN401
            target = RunningTarget("--config", target_config(**settings), env=env)
            stack.callback(target.kill)
            return target

        yield start
