"""Write the connectors' settings into `meltano.yml` and the READMEs, from the code.

`make docs` writes the parts between the marker lines anew; a test holds them to the code.
"""

from __future__ import annotations

import json
import re
import textwrap
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from singer_sdk.about import JSONFormatter
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.plugin_base import PluginBase

ROOT = Path(__file__).parents[2]
MELTANO_SCHEMA = json.loads(
    files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8")
)

# Meltano reads a `decimal` from the environment as a Decimal, which it then cannot write to the
# plugin's config file: a number goes as text, and the connector reads it.
_KINDS = {"number": "string"}


@dataclass(frozen=True)
class Connector:
    """One of the two connectors, and what it says about itself."""

    plugin: type[PluginBase]
    kind: str

    @property
    def name(self) -> str:
        """The name of the plugin, of its executable and of its folder."""
        return str(self.plugin.name)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The JSON Schema of its settings, the SDK's own included, as `--about` tells it."""
        about = self.plugin._get_about_info()  # noqa: SLF001 - what `--about` prints
        settings: dict[str, Any] = json.loads(JSONFormatter().format_about(about))["settings"]
        return settings

    @property
    def capabilities(self) -> list[str]:
        """Its capabilities, as far as Meltano's own schema has a word for them."""
        [known] = [
            part["properties"]["capabilities"]["items"]["enum"]
            for part in MELTANO_SCHEMA["$defs"]["plugins"][self.kind]["allOf"]
            if "capabilities" in part.get("properties", {})
        ]
        return sorted({capability.value for capability in self.plugin.capabilities} & set(known))

    def definition(self) -> str:
        """Its capabilities and settings as `meltano.yml` has them."""
        settings = [_setting(*item) for item in self.settings["properties"].items()]
        text = yaml.safe_dump(
            {"capabilities": self.capabilities, "settings": settings},
            sort_keys=False,
            allow_unicode=True,
            width=1_000,
        )
        return textwrap.indent(text, "    ")

    def table(self) -> str:
        """Its settings as the README has them."""
        rows = ["| Setting | Type | Default | What it does |", "| --- | --- | --- | --- |"]
        rows.extend(_rows(self.settings))
        return "\n".join(rows) + "\n"


TAP = Connector(TapWorkatoStreams, "extractors")
TARGET = Connector(TargetWorkatoStreams, "loaders")


def pages() -> Iterator[tuple[Path, str]]:
    """Give each file that holds settings, with the text that it should have."""
    project = ROOT / "meltano.yml"
    text = project.read_text(encoding="utf-8")
    for connector in (TAP, TARGET):
        begin = f"    # {connector.name}: written by `make docs`\n"
        text = _between(text, begin, connector.definition(), "    # end\n")
    yield project, text
    for connector in (TAP, TARGET):
        readme = ROOT / connector.name / "README.md"
        text = readme.read_text(encoding="utf-8")
        begin = "<!-- settings: written by `make docs` -->\n"
        yield readme, _between(text, begin, f"\n{connector.table()}\n", "<!-- end -->\n")


def _between(text: str, begin: str, content: str, end: str) -> str:
    pattern = f"({re.escape(begin)}).*?({re.escape(end)})"
    text, count = re.subn(
        pattern, lambda found: found[1] + content + found[2], text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"Expected one part from {begin!r} to {end!r}, found {count}")
    return text


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    kind = _type(schema)
    setting = {
        "name": name,
        "kind": "options" if "enum" in schema else _KINDS.get(kind, kind),
        "label": schema.get("title", name),
        "description": schema["description"],
    }
    if "default" in schema:
        setting["value"] = schema["default"]
    if "enum" in schema:
        values = [value for value in schema["enum"] if value is not None]
        setting["options"] = [{"label": value, "value": value} for value in values]
    if schema.get("secret"):
        setting["sensitive"] = True
    return setting


def _rows(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, setting in schema["properties"].items():
        values = ", ".join(f"`{value}`" for value in setting.get("enum", ()) if value is not None)
        words = setting.get("description", "").replace("\n", " ").replace("|", "\\|")
        if setting.get("secret"):
            words += " (secret)"
        default = f"`{_text(setting['default'])}`" if "default" in setting else ""
        if name in schema.get("required", ()):
            default = "required"
        yield f"| `{prefix}{name}` | {values or _type(setting)} | {default} | {words} |"
        if "properties" in setting.get("items", {}):
            yield from _rows(setting["items"], f"{prefix}{name}[].")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _type(schema: dict[str, Any]) -> str:
    """The one type of a setting, besides null."""
    types = schema["type"]
    [name] = [types] if isinstance(types, str) else [kind for kind in types if kind != "null"]
    return str(name)


def main() -> None:
    """Write the files."""
    for path, text in pages():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
