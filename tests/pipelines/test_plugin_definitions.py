"""The plugin definitions are valid for Meltano Hub, and for `meltano add`.

test_documented_commands.py shows that `meltano add` works with a file.
"""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from typing_extensions import override

from tests.support.executables import run
from tests.tools import hub_facts
from tests.tools.definitions import BEYOND_HUB
from tests.tools.demo.project import Project
from tests.tools.docs import ROOT, TAP, TARGET

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tools.docs import Connector

CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)


def definition_of(connector: Connector) -> dict[str, Any]:
    text = (ROOT / connector.name / "meltano-hub.yml").read_text(encoding="utf-8")
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


@CONNECTORS
def test_definition_is_valid_for_the_hub(connector):
    """Keys, required keys, types and enumerations match the Hub's schemas, but for one value."""
    definition = definition_of(connector)
    kind = connector.kind
    assert definition.keys() >= hub_facts.REQUIRED
    assert definition.keys() <= hub_facts.KEYS | hub_facts.KEYS_OF_KIND[kind]
    assert [key for key in hub_facts.TEXTS & definition.keys() if not definition[key]] == []
    assert all(isinstance(definition[key], str) for key in hub_facts.TEXTS & definition.keys())
    assert definition["maintenance_status"] in hub_facts.MAINTENANCE_STATUS
    assert definition["quality"] in hub_facts.QUALITY
    assert set(definition["capabilities"]) <= hub_facts.CAPABILITIES[kind] | BEYOND_HUB
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
def test_definition_matches_the_output_of_about(connector):
    """The definition has the same settings, and each capability that Meltano knows."""
    about = json.loads(run(connector.name, "--about", "--format", "json").stdout)
    definition = definition_of(connector)
    names = [setting["name"] for setting in definition["settings"]]
    assert names == list(about["settings"]["properties"])
    missing = set(about["capabilities"]) - set(definition["capabilities"])
    assert missing <= {"validate-records"}


class Quiet(SimpleHTTPRequestHandler):
    """Serves files without logging requests."""

    @override
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    """The address of a web server that serves this repository."""
    handler = partial(Quiet, directory=str(ROOT))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_meltano_adds_a_plugin_from_the_url_of_its_definition(tmp_path, address):
    """Without a clone, the command works with the address of the file."""
    path = tmp_path / "meltano.yml"
    path.write_text("send_anonymous_usage_stats: false\nenvironments: [{name: dev}]\n")
    reference = f"--from-ref={address}/{TAP.name}/meltano-hub.yml"
    plugin = ("--no-install", "--plugin-type=extractor", reference, TAP.name)
    Project(tmp_path, {"MELTANO_CLI_DISABLE_VERSION_CHECK": "true"}).meltano("add", *plugin)
    [added] = yaml.safe_load(path.read_text(encoding="utf-8"))["plugins"]["extractors"]
    assert added["pip_url"] == TAP.name
    assert added["settings"] == definition_of(TAP)["settings"]
