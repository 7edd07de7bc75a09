"""The plugin definitions are valid for Meltano Hub.

test_console_blocks.py shows that `meltano add` works with them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.executables import run
from tests.project import hub_facts
from tests.project.docs import ROOT, TAP, TARGET

if TYPE_CHECKING:
    from tests.project.docs import Connector

CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)


def definition_of(connector: Connector) -> dict[str, Any]:
    text = (ROOT / connector.name / "meltano-hub.yml").read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


@CONNECTORS
def test_definition_is_valid_for_the_hub(connector: Connector) -> None:
    """Keys, required keys, types and enumerations match the Hub's schemas."""
    definition = definition_of(connector)
    kind = connector.kind
    assert definition.keys() >= hub_facts.REQUIRED
    assert definition.keys() <= hub_facts.KEYS | hub_facts.KEYS_OF_KIND[kind]
    assert [key for key in hub_facts.TEXTS & definition.keys() if not definition[key]] == []
    assert all(isinstance(definition[key], str) for key in hub_facts.TEXTS & definition.keys())
    assert definition["maintenance_status"] in hub_facts.MAINTENANCE_STATUS
    assert definition["quality"] in hub_facts.QUALITY
    assert set(definition["capabilities"]) <= hub_facts.CAPABILITIES[kind]
    versions = definition["supported_python_versions"]
    assert [version for version in versions if not re.fullmatch(r"3\.\d+", version)] == []
    names = {setting["name"] for setting in definition["settings"]}
    for setting in definition["settings"]:
        assert setting.keys() <= hub_facts.SETTING_KEYS
        assert setting["kind"] in hub_facts.SETTING_KINDS
        assert ("options" in setting) == (setting["kind"] == "options")
        assert all(isinstance(option["value"], str) for option in setting.get("options", ()))
    assert [name for group in definition["settings_group_validation"] for name in group] != []
    for group in definition["settings_group_validation"]:
        assert set(group) <= names


@CONNECTORS
def test_definition_matches_the_output_of_about(connector: Connector) -> None:
    """The definition has the same settings, and each capability that the Hub knows."""
    about = json.loads(run(connector.name, "--about", "--format", "json").stdout)
    definition = definition_of(connector)
    names = [setting["name"] for setting in definition["settings"]]
    assert names == list(about["settings"]["properties"])
    missing = set(about["capabilities"]) - set(definition["capabilities"])
    # Meltano's schema lacks the first capability, the Hub's schema for loaders the second.
    assert missing <= {"validate-records", "structured-logging"}
