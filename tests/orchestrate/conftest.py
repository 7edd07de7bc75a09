"""One project for all tests of a file, with its loaders installed and its database running."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

from tests.demo.services import TOPIC_ID
from tests.orchestrate.pipelines import Pipelines, lay_out, warehouse_url

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.emulator.control import Emulator

# Dagster has an environment of its own: `make test-dagster`.
collect_ignore = [] if find_spec("dagster") else ["test_dagster.py"]


@pytest.fixture(scope="module")
def pipelines(
    tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator
) -> Iterator[Pipelines]:
    """The project, in which `meltano install` has been run."""
    root = tmp_path_factory.mktemp("project")
    lay_out(root)
    with warehouse_url() as url:
        variables = {"EVENT_STREAMS_URL": emulator_process.url, "WAREHOUSE_URL": url}
        pipelines = Pipelines(root, variables)
        pipelines.meltano("install", "loader", "target-jsonl", "target-postgres")
        yield pipelines
    # Plugins' environments are large, and pytest keeps the folders of three sessions.
    shutil.rmtree(root / ".meltano")


@pytest.fixture
def last_message(emulator: Emulator) -> str:
    """A topic of 120 messages, which is three pages; the id of the last."""
    emulator.create_topic("orders", id=TOPIC_ID)
    return emulator.load(TOPIC_ID, [{"order_id": number} for number in range(120)])[-1]
