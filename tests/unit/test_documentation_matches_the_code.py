"""The settings in `meltano.yml`, the READMEs and docs/ match the code."""

import ast
import re
from collections.abc import Iterable, Iterator

import pytest
import yaml

from tests.tools.docs import ROOT, TAP, TARGET, Connector, pages

CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)
KNOWN = {*TAP.settings["properties"], *TARGET.settings["properties"]}


@pytest.mark.parametrize(
    ("path", "text"), [pytest.param(*page, id=str(page[0].relative_to(ROOT))) for page in pages()]
)
def test_settings_in_a_document_are_those_of_the_code(path, text):
    """Names, kinds, defaults and descriptions are up to date; `make docs` updates them."""
    assert path.read_text(encoding="utf-8") == text


@CONNECTORS
def test_every_setting_is_described(connector):
    """With the unit, if its name ends with one; those that Meltano must redact are secret."""
    settings = connector.settings["properties"]
    for name, setting in settings.items():
        assert setting.get("description"), name
        for ending, word in (("_secs", "second"), ("_bytes", "byte")):
            assert not name.endswith(ending) or word in setting["title"] + setting["description"]
    secrets = [name for name, setting in settings.items() if setting.get("secret")]
    own = ["published_rows_url"] if "published_rows_url" in settings else []
    assert sorted(secrets) == ["api_token", "developer_api_token", *own, "quota_url"]


@CONNECTORS
def test_five_settings_come_first(connector):
    """In `--about` and in the definition, whose other settings have the order of the README."""
    own = "record_format" if connector is TAP else "create_topics"
    first = ["api_token", "data_center", "topics", own, "max_requests_per_minute"]
    assert list(connector.plugin.config_jsonschema["properties"])[:5] == first
    readme = (ROOT / connector.name / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", readme.partition("## Settings\n")[2], re.MULTILINE)
    assert rows[:5] == first
    names = [setting["name"] for setting in connector.definition["settings"]]
    assert names[: len(rows)] == rows


PAGES = [*ROOT.glob("*-workato-streams/README.md"), ROOT / "README.md", *ROOT.glob("docs/*.md")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.parent.name}/{page.name}")
def test_examples_use_existing_settings(page):
    text = page.read_text(encoding="utf-8")
    examples = [
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    ]
    assert [name for example in examples for name in _set(example) if name not in KNOWN] == []


@pytest.mark.parametrize("title", ["Both connectors", TAP.name, TARGET.name])
def test_troubleshooting_quotes_messages_of_the_code(title):
    page = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    rows = page.split(f"## {title}\n")[1].split("\n## ")[0].splitlines()[3:]
    quotes = [quote for row in rows for quote in re.findall(r"`(.+?)`", row.split("|")[1])]
    assert len(quotes) >= 7
    for connector in (TAP, TARGET):
        if title in {"Both connectors", connector.name}:
            texts = _texts(connector)
            # The status code is inserted when the line is logged.
            words = [re.sub(r" \d+$", "", quote) for quote in quotes]
            assert [quote for quote in words if not any(quote in text for text in texts)] == []


def _texts(connector: Connector) -> list[str]:
    """Return all string constants in a connector's code."""
    package = ROOT / connector.name / connector.name.replace("-", "_")
    return [
        node.value
        # The shared folders are listed, because a recursive search does not follow links.
        for folder in (package, package / "event_streams", package / "plugin")
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def _set(example: object) -> Iterator[str]:
    """Yield the names of the connectors' settings in an example."""
    if isinstance(example, dict) and "plugins" not in example.get("config", {}):
        plugin = example.get("inherit_from", example.get("name", TAP.name))
        if plugin in {TAP.name, TARGET.name}:
            yield from example.get("config", {})
    parts = example.values() if isinstance(example, dict) else example
    if isinstance(parts, Iterable) and not isinstance(parts, str):
        for part in parts:
            yield from _set(part)
