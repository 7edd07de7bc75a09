"""The plugin definitions are valid for Meltano Hub, and can be copied into any project."""

import json
import re
import shutil
from typing import Any

import pytest
import yaml

from tests.pipelines.orchestration import lay_out
from tests.tools import hub_facts
from tests.tools.definitions import BEYOND_HUB
from tests.tools.demo.project import Project
from tests.tools.docs import ROOT, TAP, TARGET, Connector

PROJECT = """
send_anonymous_usage_stats: false
cli: {disable_version_check: true}
environments: [{name: dev}]
"""
NAME = r"(?:tap|target)-workato-streams"
# A name without a path, where pip would take it for that of a package on an index.
INSTALLS_FROM_PYPI = [
    rf"pip install [^\n]*(?<![\w/.-]){NAME}(?!\w)",
    rf"pip_url: ['\"]?{NAME}",
    rf"(?<![\w/.{{}}-]){NAME}\[",
    rf"\| PyPI[^\n]*{NAME}",
]


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


@pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)
def test_until_the_release_a_plugin_is_installed_from_a_clone(connector, tmp_path):
    """Anybody could register the name of a package on PyPI that does not exist."""
    lock = ROOT / "plugins" / connector.kind / f"{connector.name}--workato-streams.lock"
    pip_url = definition_of(connector)["pip_url"]
    assert json.loads(lock.read_text(encoding="utf-8"))["pip_url"] == pip_url
    (tmp_path / "workato-streams").symlink_to(ROOT)
    (tmp_path / "my-project").mkdir()
    assert (tmp_path / "my-project" / pip_url / "pyproject.toml").is_file()


@pytest.mark.parametrize("pattern", INSTALLS_FROM_PYPI)
def test_no_page_or_error_installs_a_connector_from_pypi(pattern):
    folders = ("docs", "orchestrate", ".github", TAP.name, TARGET.name)
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    for path in [*ROOT.glob("*.md"), *ROOT.glob("*.yml"), *files]:
        if path.suffix in {".md", ".py", ".yml", ".yaml", ""}:
            assert re.findall(pattern, path.read_text(encoding="utf-8")) == [], path


def test_the_definitions_replace_none_of_an_existing_project(tmp_path):
    """It has the Hub's definition of target-postgres, with all of its settings."""
    loader = {"name": "target-postgres", "variant": "meltanolabs"}
    lay_out(tmp_path, {**yaml.safe_load(PROJECT), "plugins": {"loaders": [loader]}})
    hub: dict[str, Any] = {
        "plugin_type": "loaders",
        "settings": [{"name": "only_in_the_hub"}],
        **loader,
    }
    hub["namespace"] = "target_postgres"
    lock = tmp_path / "plugins" / "loaders" / "target-postgres--meltanolabs.lock"
    lock.write_text(json.dumps(hub), encoding="utf-8")
    shutil.copytree(ROOT / "plugins", tmp_path / "plugins", dirs_exist_ok=True)
    variables = {"TARGET_POSTGRES_ONLY_IN_THE_HUB": "value"}
    config = Project(tmp_path, variables).meltano("config", "print", "target-postgres")
    assert json.loads(config) == {"only_in_the_hub": "value"}


def test_our_target_postgres_has_the_settings_of_a_connection(tmp_path):
    """Like the Hub's, so that a password needs no escaping, as it would in a URL."""
    loader = {"name": "target-postgres", "variant": "pypi"}
    lay_out(tmp_path, {**yaml.safe_load(PROJECT), "plugins": {"loaders": [loader]}})
    mine = {"host": "db", "user": "me", "password": "p@ss:/word", "database": "warehouse"}
    variables = {f"TARGET_POSTGRES_{name.upper()}": value for name, value in mine.items()}
    config = Project(tmp_path, variables).meltano("config", "print", "target-postgres")
    assert json.loads(config).keys() == mine.keys()
