"""Projects with the connectors of this environment, and projects with installed loaders."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import (
    TARGET_JSONL,
    Pipelines,
    connection,
    definition,
    lay_out,
)
from tests.tools.demo.project import Project
from tests.tools.demo.services import TOPIC_ID
from tests.tools.demo.warehouse import Warehouse, warehouse
from tests.tools.docs import TAP

# Dagster needs its own environment: `make test-dagster`.
collect_ignore = [] if find_spec("dagster") else ["test_dagster.py"]


@pytest.fixture
def project(tmp_path: Path, emulator: Emulator) -> Project:
    """The unchanged project in `tmp_path`; it uses the emulator of the test."""
    lay_out(tmp_path, definition())
    return Project(tmp_path, connection(emulator))


@contextmanager
def new_database() -> Iterator[Warehouse]:
    with tempfile.TemporaryDirectory() as name, warehouse(Path(name) / "warehouse") as running:
        yield running


@pytest.fixture
def database() -> Iterator[Warehouse]:
    """An empty PostgreSQL."""
    with new_database() as running:
        yield running


@pytest.fixture
def load(
    project: Project, emulator: Emulator, database: Warehouse, tmp_path: Path
) -> Callable[..., Any]:
    """Load the topic 11, whose records are unpacked, into the database."""
    emulator.create_topic("orders", id=11)

    def run_it(*options: str, run: Callable[..., Any] = project.meltano, **settings: Any) -> Any:  # noqa: ANN401 - settings of the tap
        settings = {"record_format": "unpacked", "batch_size": 10, **settings}
        content = definition()
        [tap] = [each for each in content["plugins"]["extractors"] if each["name"] == TAP.name]
        # Meltano would merge the object in a variable with that of the project.
        tap["config"]["topics"] = settings.pop("topics", {"orders": 11})
        lay_out(tmp_path, content)
        variables = {"WAREHOUSE_URL": database.url}
        for name, value in settings.items():
            text = value if isinstance(value, str) else json.dumps(value)
            variables[f"TAP_WORKATO_STREAMS_{name.upper()}"] = text
        plugins = ("tap-workato-streams", "target-postgres")
        return run("run", *options, *plugins, variables=variables)

    return run_it


@pytest.fixture(scope="module")
def pipelines(
    tmp_path_factory: pytest.TempPathFactory, emulator_process: Emulator
) -> Iterator[Pipelines]:
    """The project with two loaders, after `meltano install`."""
    root = tmp_path_factory.mktemp("project")
    content = definition()
    content["plugins"]["loaders"].append(TARGET_JSONL)
    lay_out(root, content)
    with new_database() as running:
        pipelines = Pipelines(root, emulator_process, running)
        pipelines.meltano("install", "loader", "target-jsonl", "target-postgres")
        yield pipelines
    # The plugins' environments are large, and pytest would keep those of three sessions.
    shutil.rmtree(root / ".meltano")


@pytest.fixture
def last_message(emulator: Emulator) -> str:
    """The id of the last message in a topic of 120 messages, which are three pages."""
    emulator.create_topic("orders", id=TOPIC_ID)
    return emulator.load(TOPIC_ID, [{"order_id": number} for number in range(120)])[-1]
