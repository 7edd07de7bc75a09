"""A project for all tests of a file, with installed loaders and a running database."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.demo.services import TOPIC_ID
from tests.orchestrate.pipelines import Pipelines, lay_out, warehouse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from workato_streams_emulator import Emulator

# Dagster needs its own environment: `make test-dagster`.
collect_ignore = [] if find_spec("dagster") else ["test_dagster.py"]


@pytest.fixture(scope="module")
def pipelines(
    tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator
) -> Iterator[Pipelines]:
    """The project, after `meltano install`."""
    root = tmp_path_factory.mktemp("project")
    lay_out(root)
    with warehouse_url() as url:
        variables = {"EVENT_STREAMS_URL": emulator_process.url, "WAREHOUSE_URL": url}
        pipelines = Pipelines(root, variables)
        pipelines.meltano("install", "loader", "target-jsonl", "target-postgres")
        yield pipelines
    # The plugins' environments are large, and pytest would keep those of three sessions.
    shutil.rmtree(root / ".meltano")


@pytest.fixture
def last_message(emulator: Emulator) -> str:
    """The id of the last message in a topic of 120 messages, which are three pages."""
    emulator.create_topic("orders", id=TOPIC_ID)
    return emulator.load(TOPIC_ID, [{"order_id": number} for number in range(120)])[-1]
