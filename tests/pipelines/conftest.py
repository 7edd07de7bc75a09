"""Projects with the connectors of this environment, and projects with installed loaders."""

from __future__ import annotations

import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.pipelines.orchestration import Pipelines, lay_out, warehouse_url
from tests.tools.demo.project import Project, copy_definitions
from tests.tools.demo.services import TOPIC_ID
from tests.tools.docs import ROOT, TAP, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from workato_streams_emulator import Emulator

Definition = dict[str, Any]


@pytest.fixture
def definition() -> Definition:
    """The content of `meltano.yml`, with the executables of this environment."""
    text = (ROOT / "meltano.yml").read_text(encoding="utf-8")
    return installed(yaml.safe_load(text))


def installed(project: Definition) -> Definition:
    """Use the connectors of this environment instead of installing them."""
    for kind in ("extractors", "loaders"):
        for plugin in project["plugins"][kind]:
            if plugin["name"] in {TAP.name, TARGET.name}:
                del plugin["pip_url"]
                plugin["executable"] = str(Path(sys.executable).parent / plugin["name"])
    return project


@pytest.fixture
def in_folder(tmp_path: Path, emulator: Emulator) -> Callable[[Definition], Project]:
    """Create a project in a folder; it uses the emulator of the test."""

    def lay_out(definition: Definition) -> Project:
        text = yaml.safe_dump(definition, sort_keys=False)
        (tmp_path / "meltano.yml").write_text(text, encoding="utf-8")
        copy_definitions(ROOT, tmp_path)
        return Project(tmp_path, {"EVENT_STREAMS_URL": emulator.url})

    return lay_out


@pytest.fixture
def project(in_folder: Callable[[Definition], Project], definition: Definition) -> Project:
    """The unchanged project."""
    return in_folder(definition)


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
