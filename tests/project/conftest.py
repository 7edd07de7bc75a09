"""A copy of the project in a temporary folder, with the connectors of this environment."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.demo.project import Project, copy_definitions
from tests.project.docs import ROOT, TAP, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable

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
