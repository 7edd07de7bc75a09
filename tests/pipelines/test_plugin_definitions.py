"""The plugin definitions are valid for Meltano Hub, and for `meltano add`.

test_documented_commands.py shows that `meltano add` works with a file.
"""

import re
from typing import Any

import pytest
import yaml

from tests.support.raw_service import RawService, http_response
from tests.tools import hub_facts
from tests.tools.definitions import BEYOND_HUB
from tests.tools.demo.project import Project
from tests.tools.docs import ROOT, TAP, TARGET, Connector


def definition_of(connector: Connector) -> dict[str, Any]:
    text = (ROOT / connector.name / "meltano-hub.yml").read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


@pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)
def test_definition_is_valid_for_the_hub(connector):
    definition = definition_of(connector)
    kind = connector.kind
    assert definition.keys() >= hub_facts.REQUIRED
    assert definition.keys() <= hub_facts.KEYS | hub_facts.KEYS_OF_KIND[kind]
    for key in hub_facts.TEXTS & definition.keys():
        assert isinstance(definition[key], str)
        assert definition[key]
    assert definition["maintenance_status"] in hub_facts.MAINTENANCE_STATUS
    assert definition["quality"] in hub_facts.QUALITY
    capabilities = set(definition["capabilities"])
    assert capabilities <= hub_facts.CAPABILITIES[kind] | BEYOND_HUB
    left_out = {each.value for each in connector.plugin.capabilities} - capabilities
    assert left_out <= {"validate-records"}
    for version in definition["supported_python_versions"]:
        assert re.fullmatch(r"3\.\d+", version)
    names = {setting["name"] for setting in definition["settings"]}
    for setting in definition["settings"]:
        assert setting.keys() <= hub_facts.SETTING_KEYS
        assert setting["kind"] in hub_facts.SETTING_KINDS
        assert ("options" in setting) == (setting["kind"] == "options")
        assert all(isinstance(option["value"], str) for option in setting.get("options", ()))
    groups = definition["settings_group_validation"]
    assert set() < {name for group in groups for name in group} <= names


def test_meltano_adds_a_plugin_from_the_url_of_its_definition(tmp_path):
    """Without a clone, the command works with the address of the file."""
    path = tmp_path / "meltano.yml"
    path.write_text("send_anonymous_usage_stats: false\nenvironments: [{name: dev}]\n")
    file = http_response((ROOT / TAP.name / "meltano-hub.yml").read_bytes())
    project = Project(tmp_path, {"MELTANO_CLI_DISABLE_VERSION_CHECK": "true"})
    with RawService(lambda connection, _number: connection.sendall(file)) as service:
        reference = f"--from-ref={service.url}/{TAP.name}/meltano-hub.yml"
        plugin = ("--no-install", "--plugin-type=extractor", reference, TAP.name)
        project.meltano("add", *plugin)
    [added] = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]["extractors"]
    assert added["pip_url"] == TAP.name
    assert added["settings"] == definition_of(TAP)["settings"]
