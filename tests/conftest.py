"""What all tests share: an emulator, as good as new for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.emulator.control import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One server process for the whole session."""
    with Emulator.start() as emulator:
        yield emulator


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """The Event Streams emulator, empty and with its default settings."""
    emulator_process.reset()
    return emulator_process
