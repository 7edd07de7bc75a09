"""Fixtures of the tap's tests: a config for the emulator, and ways to run the tap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

from tests.executables import run, write_json
from tests.tap.running import RunningTap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.executables import Outcome


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
