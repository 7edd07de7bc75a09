"""Fixtures for all tests; `emulator` is the fixture of the emulator's pytest plugin."""

import os
import signal
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from workato_streams_emulator import Emulator

from tests.support.executables import write_json

# Fixtures of all folders.
pytest_plugins = [
    "tests.support.tap",
    "tests.support.target",
    "tests.support.connector",
    "tests.support.quota_stores",
]

# There is no deadline, because a machine may be busy. Each run tries the same examples, so that
# none fails by chance; `pytest --hypothesis-profile=random` tries new ones.
settings.register_profile(
    "random",
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deterministic", settings.get_profile("random"), derandomize=True)
settings.load_profile("deterministic")


# Processes start in half the time if their imports are compiled. The environments that tests create
# are not compiled, because they are used only once or twice.
for variable in ("PYTHONDONTWRITEBYTECODE", "UV_COMPILE_BYTECODE"):
    os.environ.pop(variable, None)


# A shell ignores these signals in background jobs, and the processes of tests would inherit this.
for signum in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(signum) is signal.SIG_IGN:
        signal.signal(signum, lambda *_: None)


# The type of a fixture, and the numbers of the files that it writes.
WriteConfig = Callable[..., Path]
NUMBERS = count()


def pytest_xdist_auto_num_workers() -> int:
    """Return the number of workers for `-n auto`: five for two cores, since many tests wait."""
    return (os.cpu_count() or 1) * 5 // 2


@pytest.fixture
def developer(emulator: Emulator) -> dict[str, Any]:
    """Settings for the Developer API."""
    return {"developer_api_token": emulator.developer_token, "developer_api_url": emulator.url}


@pytest.fixture
def write_config(emulator: Emulator, tmp_path: Path) -> WriteConfig:
    """Write a new config file for the emulator; a setting that is None is left out."""

    def write(**settings: Any) -> Path:  # noqa: ANN401 - settings are JSON
        config = {"api_url": emulator.url, "api_token": emulator.token, **settings}
        kept = {name: value for name, value in config.items() if value is not None}
        return write_json(tmp_path / f"config-{next(NUMBERS)}.json", kept)

    return write
