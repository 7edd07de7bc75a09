"""A connector's plugin definition in the format of Meltano Hub, built from its own code.

`meltano-hub.yml` is for the Hub; the lock file below `plugins/` has the same content. Users copy it
into their projects, until the Hub lists the plugins.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import yaml

from tests.tools.hub_facts import CAPABILITIES

VARIANT = "workato-streams"
# A clone next to the project. Until the release, anybody could register the names on PyPI.
PIP_URL = "../workato-streams/{name}"
PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")
# Meltano reads a `decimal` from the environment as a Decimal, which it cannot write to the plugin's
# config file. So a number is passed as text, and the connector parses it.
KINDS = {"number": "string"}


@dataclass(frozen=True)
class About:
    """The parts of a definition that cannot be derived from the code."""

    description: str
    keywords: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    prereq: str
    next_steps: str
    usage: str


PREREQ = """\
An API client in Workato with access to the topics, and its token. The page
[Tokens and permissions]({repo}/blob/main/docs/tokens.md) shows where to find them.
"""
ABOUT = {
    "extractors": About(
        "Reads the messages of Workato Event Streams topics",
        ("api", "messaging", "streaming", "meltano_sdk"),
        (("api_token", "topics"), ("api_token", "developer_api_token")),
        PREREQ,
        """\
1. Set `api_token`, `data_center` and `topics`, for example `{{"orders": 11}}`.
2. Check them: `meltano invoke {name} --test` reads one message of each topic.
3. Run it: `meltano run {name} target-postgres`.
""",
        """\
Each message becomes one record with the payload as published. The bookmark is the id of the last
message, so each run reads only new messages. See [{name}]({repo}/blob/main/{name}/README.md) and
[troubleshooting]({repo}/blob/main/docs/troubleshooting.md).
""",
    ),
    "loaders": About(
        "Publishes records as messages of Workato Event Streams topics",
        ("api", "messaging", "streaming", "meltano_sdk"),
        (
            ("api_token", "topics"),
            ("api_token", "developer_api_token", "create_topics"),
        ),
        PREREQ,
        """\
1. Set `api_token`, `data_center` and `topics` (topic ids by stream name), for example
   `{{"orders": 11}}`.
2. Run it: `meltano run tap-jsonl {name}`.
""",
        """\
State is emitted only after Event Streams has acknowledged the records that it covers. See
[{name}]({repo}/blob/main/{name}/README.md) and
[troubleshooting]({repo}/blob/main/docs/troubleshooting.md).
""",
    ),
}


# Meltano needs it to show errors of a loader as errors; the Hub's schema lists it for taps only.
BEYOND_HUB = frozenset({"structured-logging"})


def definition(
    name: str, kind: str, repo: str, settings: dict[str, Any], capabilities: list[str]
) -> dict[str, Any]:
    """Build the definition; `settings` is the JSON Schema that `--about` prints."""
    about = ABOUT[kind]

    def fill(text: str) -> str:
        return text.format(name=name, repo=repo)

    return {
        "name": name,
        "namespace": name.replace("-", "_"),
        "variant": VARIANT,
        "label": "Workato Event Streams",
        "description": about.description,
        "keywords": list(about.keywords),
        "domain_url": "https://docs.workato.com/event-streams.html",
        "repo": repo,
        "docs": f"{repo}/blob/main/{name}/README.md",
        "maintenance_status": "development",
        "quality": "unknown",
        "pip_url": fill(PIP_URL),
        "executable": name,
        "supported_python_versions": list(PYTHONS),
        "capabilities": sorted(set(capabilities) & (CAPABILITIES[kind] | BEYOND_HUB)),
        "settings_group_validation": [list(group) for group in about.groups],
        "settings": [_setting(*item) for item in settings["properties"].items()],
        "prereq": fill(about.prereq),
        "next_steps": fill(about.next_steps),
        "usage": fill(about.usage),
    }


def as_yaml(definition: dict[str, Any]) -> str:
    """Write a definition as `meltano-hub.yml`."""
    return yaml.dump(definition, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000)


def as_lock(definition: dict[str, Any], kind: str) -> str:
    """Write a definition as Meltano's lock file."""
    locked = {"plugin_type": kind, **definition}
    return json.dumps(locked, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Writes multi-line strings as block scalars."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text)


def _setting(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    kind = "date_iso8601" if schema.get("format") == "date-time" else type_of(schema)
    setting = {
        "name": name,
        "kind": "options" if "enum" in schema else KINDS.get(kind, kind),
        "label": schema.get("title", name),
        "description": " ".join(filter(None, [schema["description"], limits(schema, "({})")])),
    }
    if "default" in schema:
        setting["value"] = schema["default"]
    if "enum" in schema:
        values = [value for value in schema["enum"] if value is not None]
        setting["options"] = [{"label": value, "value": value} for value in values]
    if schema.get("secret"):
        setting["sensitive"] = True
    return setting


def type_of(schema: dict[str, Any]) -> str:
    """Return the type of a setting, apart from null; the first one if it has several."""
    return types_of(schema)[0]


def types_of(schema: dict[str, Any]) -> list[str]:
    """Return the types of a setting, apart from null."""
    types = schema["type"]
    return [types] if isinstance(types, str) else [kind for kind in types if kind != "null"]


def limits(schema: dict[str, Any], form: str = "{}") -> str:
    """Describe the range of a setting; empty if it has no limits."""
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return form.format(f"{least} to {most}")
    bounds = {"minimum": "at least", "exclusiveMinimum": "greater than", "maximum": "at most"}
    texts = [f"{words} {schema[key]}" for key, words in bounds.items() if key in schema]
    return form.format(", ".join(texts)) if texts else ""
