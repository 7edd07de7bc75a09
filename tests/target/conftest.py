"""What the tests of the target share: its settings for the emulator, and ways to run it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.executables import run, write_json
from tests.target.running import RunningTarget
from tests.target.singer import lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.executables import Outcome


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
