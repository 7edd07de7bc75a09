"""The plugin definitions are what Meltano Hub accepts, and `meltano add` works with them."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.demo.project import Project
from tests.executables import run
from tests.project import hub_facts
from tests.project.docs import ROOT, TAP, TARGET

if TYPE_CHECKING:
    from pathlib import Path

    from tests.emulator.control import Emulator
    from tests.project.docs import Connector

CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)
OFFLINE = {
    "MELTANO_SEND_ANONYMOUS_USAGE_STATS": "false",
    "MELTANO_CLI_DISABLE_VERSION_CHECK": "true",
}
ORDERS = [b'{"order_id":"ORD-1","total":1.10}', b'{"order_id":"ORD-2","total":0.0000001}']


def definition_of(connector: Connector) -> dict[str, Any]:
    text = (ROOT / connector.name / "meltano-hub.yml").read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


@CONNECTORS
def test_definition_is_valid_for_the_hub(connector: Connector) -> None:
    """Keys, required keys, types and enumerations are those of the Hub's own schemas."""
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
def test_definition_has_what_the_executable_says_of_itself(connector: Connector) -> None:
    """Settings, and each capability that the Hub knows."""
    about = json.loads(run(connector.name, "--about", "--format", "json").stdout)
    definition = definition_of(connector)
    names = [setting["name"] for setting in definition["settings"]]
    assert names == list(about["settings"]["properties"])
    missing = set(about["capabilities"]) - set(definition["capabilities"])
    # Meltano's own schema lacks the first, the Hub's schema for loaders the second.
    assert missing <= {"validate-records", "structured-logging"}


def test_meltano_add_brings_both_connectors_into_an_empty_project(
    tmp_path: Path, emulator: Emulator
) -> None:
    """From `meltano init` to the first rows, with the settings that the README names."""
    emulator.create_topic("orders", id=11)
    emulator.create_topic("copy", id=12)
    emulator.load(11, ORDERS)
    Project(tmp_path, {}).meltano("init", "mine")
    path = tmp_path / "mine" / "meltano.yml"
    project = Project(path.parent, {"WORKATO_API_TOKEN": emulator.token, **OFFLINE})
    for kind, connector in (("extractor", TAP), ("loader", TARGET)):
        reference = f"--from-ref={ROOT / connector.name / 'meltano-hub.yml'}"
        add = ("add", "--no-install", f"--plugin-type={kind}", reference, connector.name)
        project.meltano(*add)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    [tap], [target] = content["plugins"]["extractors"], content["plugins"]["loaders"]
    for plugin in (tap, target):
        plugin["pip_url"] = str(ROOT / plugin["name"])
        plugin["config"] = {"api_url": emulator.url, "api_token": "$WORKATO_API_TOKEN"}
    tap["config"]["topics"] = [{"id": 11, "name": "orders"}]
    target["config"].update({"topics": {"orders": 12}, "payload_field": "payload"})
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    project.meltano("install")
    project.meltano("run", TAP.name, TARGET.name)
    assert [message.payload for message in emulator.messages(12)] == ORDERS
