"""Generate the files, and parts of files, that are derived from the code: `make docs`.

These are the plugin definitions and lock files, the tables of settings in the READMEs, and the
repository's URL wherever it is needed. A test fails if one of them is not up to date.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

from singer_sdk.about import JSONFormatter
from singer_sdk.plugin_base import PluginBase
from tap_workato_streams.plugin.config import FIRST
from tap_workato_streams.tap import TapWorkatoStreams
from target_workato_streams.target import TargetWorkatoStreams

from tests.tools.benchmarks import plot
from tests.tools.definitions import PYTHONS, VARIANT, as_lock, as_yaml, definition, limits, types_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


ROOT = Path(__file__).parents[2]
# The other settings, in the order of the READMEs and definitions; each connector has some of them.
ADVANCED = {
    "Connection": (
        "api_url legacy_api developer_api_token developer_api_url request_timeout_secs"
        " max_retry_secs"
    ),
    "Topics": "on_unmapped_stream start_from start_date end_date on_expired_bookmark tail",
    "Records": (
        "schema_evolution payload_field message_key_field published_rows_url published_rows_days"
        " exactly_once dry_run dead_letter_path max_rejected"
    ),
    "Limits and metrics": (
        "quota_url batch_size timeout_secs max_messages max_run_secs max_parallel_topics"
        " batch_size_rows max_batch_age_secs max_in_flight metrics_address"
    ),
}
SDK_SETTINGS = {
    "add_record_metadata",
    "faker_config",
    "flattening_enabled",
    "flattening_max_depth",
    "flattening_max_key_length",
    "flattening_separator",
    "stream_map_config",
    "stream_maps",
}
# The pages with a command that clones the repository.
CLONED = (ROOT / "README.md", ROOT / "docs" / "load-a-topic.md")
REPLICATION = {
    "extractors": {"Replication": "`INCREMENTAL` by `message_id`, which is also the key"},
    "loaders": {
        "Load method": "append only: each record becomes a message; at least once, or "
        "[exactly once](../docs/exactly-once.md)"
    },
}
SDK_PAGE = "[its documentation](https://sdk.meltano.com/en/latest/stream_maps.html)"
LINKS = "pattern = ']\\(\\.\\./'\n"
HEAD = "| Setting | Value | What it does |\n| --- | --- | --- |"
MELTANO_SCHEMA = json.loads(
    files("meltano.schemas").joinpath("meltano.schema.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Connector:
    """One of the two connectors and its metadata."""

    plugin: type[PluginBase]
    kind: str

    @property
    def name(self) -> str:
        """The name of the plugin, its executable and its folder."""
        return str(self.plugin.name)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The JSON Schema of its settings, including the SDK's, in the order of the README.

        Raises:
            ValueError: A setting is in no group of `ADVANCED`.
        """
        about = self.plugin._get_about_info()  # noqa: SLF001 - what `--about` prints
        settings: dict[str, Any] = json.loads(JSONFormatter().format_about(about))["settings"]
        known = settings["properties"]
        names = [*FIRST, *" ".join(ADVANCED.values()).split()]
        ordered = {name: known.pop(name) for name in names if name in known}
        if known.keys() - SDK_SETTINGS:
            raise ValueError(f"ADVANCED lacks {known.keys() - SDK_SETTINGS}")
        return {**settings, "properties": {**ordered, **known}}

    @property
    def capabilities(self) -> list[str]:
        """Its capabilities, as far as Meltano's schema knows them."""
        [known] = [
            part["properties"]["capabilities"]["items"]["enum"]
            for part in MELTANO_SCHEMA["$defs"]["plugins"][self.kind]["allOf"]
            if "capabilities" in part.get("properties", {})
        ]
        return sorted({capability.value for capability in self.plugin.capabilities} & set(known))

    @property
    def definition(self) -> dict[str, Any]:
        """Its plugin definition in the format of Meltano Hub."""
        return definition(self.name, self.kind, address(), self.settings, self.capabilities)

    @property
    def facts(self) -> str:
        """The table of what users of Singer look for first, for the README."""
        with (ROOT / self.name / "pyproject.toml").open("rb") as file:
            requirements = tomllib.load(file)["project"]["dependencies"]
        [sdk] = [each for each in requirements if each.startswith("singer-sdk")]
        rows = {
            "Capabilities": ", ".join(f"`{name}`" for name in self.capabilities),
            **REPLICATION[self.kind],
            "Python": f"{PYTHONS[0]} to {PYTHONS[-1]}",
            "Requires": f"`{sdk}`, an API client of Workato",
            "All facts": f"`{self.name} --about --format=markdown`",
        }
        return "\n".join(["| | |", "| --- | --- |", *(f"| {k} | {v} |" for k, v in rows.items())])

    @property
    def tables(self) -> str:
        """The tables of its settings for the README."""
        known = self.settings["properties"]
        parts = [f"{self._table(FIRST)}\n", "### Advanced\n"]
        for title, names in ADVANCED.items():
            parts.append(f"#### {title}\n\n{self._table(names.split())}\n")
        names = ", ".join(f"`{name}`" for name in known if name in SDK_SETTINGS)
        return "\n".join([*parts, f"#### Settings of the SDK\n\n{names}: see {SDK_PAGE}.\n"])

    def _table(self, names: Iterable[str]) -> str:
        known = self.settings["properties"]
        rows = _rows({**self.settings, "properties": {n: known[n] for n in names if n in known}})
        return "\n".join([HEAD, *rows])


TAP = Connector(TapWorkatoStreams, "extractors")
TARGET = Connector(TargetWorkatoStreams, "loaders")


def address() -> str:
    """Return the repository's URL; it is defined in the root's pyproject.toml only."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        return str(tomllib.load(file)["project"]["urls"]["Repository"])


def pages() -> Iterator[tuple[Path, str]]:
    """Yield each generated file with the text that it should have."""
    for theme in plot.THEMES:
        yield plot.path(theme), plot.draw(plot.RESULTS.read_text(encoding="utf-8"), theme)
    for page in CLONED:
        text = page.read_text(encoding="utf-8")
        yield page, re.sub(r"git clone \S+", f"git clone {address()}.git", text)
    for connector in (TAP, TARGET):
        folder = ROOT / connector.name
        yield folder / "meltano-hub.yml", as_yaml(connector.definition)
        lock = ROOT / "plugins" / connector.kind / f"{connector.name}--{VARIANT}.lock"
        yield lock, as_lock(connector.definition, connector.kind)
        readme = folder / "README.md"
        text = readme.read_text(encoding="utf-8")
        begin = "<!-- settings: written by `make docs` -->\n"
        text = _between(text, begin, f"\n{connector.tables}\n", "<!-- end -->\n")
        begin = "<!-- facts: written by `make docs` -->\n"
        yield readme, _between(text, begin, f"\n{connector.facts}\n", "<!-- end of facts -->\n")
        project = folder / "pyproject.toml"
        text = project.read_text(encoding="utf-8")
        text = _between(text, "[project.urls]\n", _urls(connector.name), "\n[project.scripts]\n")
        # Links that leave the folder are absolute in the README of the package.
        link = f"replacement = ']({address()}/blob/main/'\n"
        yield project, _between(text, LINKS, link, "\n[tool.hatch.build.targets.wheel]\n")


def _urls(name: str) -> str:
    pages = {
        "Documentation": f"blob/main/{name}/README.md",
        "Source": f"tree/main/{name}",
        "Issues": "issues",
        "Changelog": "blob/main/CHANGELOG.md",
    }
    return "".join(f'{label} = "{address()}/{path}"\n' for label, path in pages.items())


def _between(text: str, begin: str, content: str, end: str) -> str:
    pattern = f"({re.escape(begin)}).*?({re.escape(end)})"
    text, count = re.subn(
        pattern, lambda found: found[1] + content + found[2], text, flags=re.DOTALL
    )
    if count != 1:
        raise ValueError(f"Expected one part from {begin!r} to {end!r}, found {count}")
    return text


def _rows(schema: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, setting in schema["properties"].items():
        if not setting:  # It has been removed.
            continue
        values = ", ".join(f"`{value}`" for value in setting.get("enum", ()) if value is not None)
        words = setting.get("description", "").replace("\n", " ").replace("|", "\\|")
        if setting.get("secret"):
            words += " (secret)"
        value = values or ", ".join(filter(None, [" or ".join(types_of(setting)), limits(setting)]))
        if "default" in setting:
            value += f"; default `{_text(setting['default'])}`"
        if name in schema.get("required", ()):
            value += ", required"
        yield f"| `{prefix}{name}` | {value} | {words} |"
        if "properties" in setting.get("items", {}):
            yield from _rows(setting["items"], f"{prefix}{name}[].")


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def main() -> None:
    """Write the files."""
    for path, text in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
