"""The pytest plugin: the fixture `emulator`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from workato_streams_emulator.client import Emulator


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One server process for the whole test session."""
    with Emulator.start() as emulator:
        yield emulator


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """The Event Streams emulator, empty and with its default settings."""
    emulator_process.reset()
    return emulator_process
