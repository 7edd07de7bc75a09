"""The config of both connectors: its files, its types, and all of its problems at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, ClassVar

import click
from singer_sdk import typing as th
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import PluginBase, _ConfigInput
from typing_extensions import override

from ..event_streams.errors import SettingError
from ..event_streams.json import decode
from ..event_streams.session import DATA_CENTERS, LEGACY_DATA_CENTERS
from .command import ConnectorCommand
from .problems import problems, unknown_settings

# The settings that both connectors have.
COMMON_SETTINGS = (
    th.Property(
        "api_token",
        th.StringType(min_length=1),
        required=True,
        secret=True,
        description="Token of an API client with access to the topics",
    ),
    th.Property(
        "data_center",
        th.StringType(allowed_values=list(DATA_CENTERS)),
        default="us",
        description="Data center of the workspace",
    ),
    th.Property(
        "api_url",
        th.StringType,
        description="Base URL of the Event Streams API; overrides `data_center`. Clear-text http "
        "is accepted for loopback addresses only.",
    ),
    th.Property(
        "legacy_api",
        th.BooleanType,
        default=False,
        description="Use the legacy domain, which has no batch endpoint and only the data centers "
        f"{', '.join(LEGACY_DATA_CENTERS)}",
    ),
    th.Property(
        "max_requests_per_minute",
        th.IntegerType(minimum=1),
        description="Maximum number of requests per minute, including retries and long polls, of "
        "this process or, with `quota_url`, of all processes together",
    ),
    th.Property(
        "quota_url",
        th.StringType(min_length=1),
        secret=True,
        description="Store in which all processes count their requests: `file:///path/quota.db`, "
        "`redis://...`, `rediss://...` (extra `redis`) or `postgresql://...` (extra `postgres`); "
        "requires `max_requests_per_minute`",
    ),
    th.Property(
        "request_timeout_secs",
        # Some operating systems do not support a socket timeout of more than a day.
        th.IntegerType(minimum=1, maximum=86_400),
        default=30,
        description="Maximum time in seconds for a whole response, in addition to a long poll",
    ),
    th.Property(
        "max_retry_secs",
        th.IntegerType(minimum=0),
        default=300,
        description="Maximum time in seconds for which a request is retried",
    ),
    th.Property(
        "developer_api_token",
        th.StringType(min_length=1),
        secret=True,
        description="Token of the Developer API, which lists the topics and their schemas",
    ),
    th.Property(
        "developer_api_url",
        th.StringType,
        description="Base URL of the Developer API; overrides `data_center`",
    ),
    th.Property(
        "metrics_address",
        th.StringType(min_length=1),
        description="Address (`host:port`) at which metrics for Prometheus are served during a "
        "run (extra `metrics`)",
    ),
)

# The settings that come first in `--about`, READMEs and definitions; all others are advanced.
FIRST = (
    "api_token",
    "data_center",
    "topics",
    "record_format",
    "create_topics",
    "max_requests_per_minute",
)

UNITS = {"secs": "(seconds)", "bytes": "(bytes)", "rows": "(rows)", "api": "API", "url": "URL"}


def settings_schema(*own: th.Property[Any]) -> dict[str, Any]:
    """Return the JSON Schema of the settings of a connector; their titles are their names."""
    schema = th.PropertiesList(*COMMON_SETTINGS, *own).to_dict()
    known = schema["properties"]
    schema["properties"] = {**{name: known[name] for name in FIRST if name in known}, **known}
    for name, setting in known.items():
        title = " ".join(UNITS.get(word, word) for word in name.split("_"))
        setting["title"] = title[0].upper() + title[1:]
    return schema


def read_json(file: IO[str], label: str) -> Any:  # noqa: ANN401 - JSON
    """Read a JSON file; SettingError, which begins with the label, if its content is not JSON."""
    try:
        return decode(file.read())
    except json.JSONDecodeError as exc:
        reason = f"{exc.msg} at line {exc.lineno}, column {exc.colno}"
    except UnicodeDecodeError as exc:
        reason = f"not UTF-8 at byte {exc.start + 1}"
    except RecursionError:
        reason = "nested too deeply"
    raise SettingError(f"{label}: not JSON ({reason})")


def read_config(path: str | Path) -> dict[str, Any]:
    """Read a config file; SettingError if it does not exist, or is not a JSON object."""
    label = f"config file {path}"
    try:
        with Path(path).open(encoding="utf-8") as file:
            config = read_json(file, label)
    except OSError as exc:
        raise SettingError(f"{label}: cannot be read ({exc.strerror})") from exc
    if not isinstance(config, dict):
        raise SettingError(f"{label}: not a JSON object of settings")
    return config


# The SDK's words for true, and their opposites; the SDK treats all other words as false.
BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}


def typed(config: Mapping[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Convert the settings that were given as text to their types.

    Empty strings count as not set; a string that cannot be converted is kept and is a problem.
    """
    return {
        name: _typed(value, schema["properties"].get(name))
        for name, value in config.items()
        if value is not None and value != ""
    }


def _typed(value: Any, schema: object) -> Any:  # noqa: ANN401 - JSON
    if not isinstance(schema, dict) or not schema:
        return value
    kinds = schema.get("type", [])
    if isinstance(value, str) and kinds and "string" not in kinds:
        value = _parse(value, kinds)
    # Meltano inserts environment variables into arrays and objects as text.
    if isinstance(value, list):
        return [_typed(each, schema.get("items")) for each in value]
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {name: _typed(each, named.get(name, others)) for name, each in value.items()}
    if isinstance(value, Decimal):
        value = float(value)  # as in the SDK; seconds are floats
    whole = isinstance(value, float) and value.is_integer()
    return int(value) if whole and "integer" in kinds else value


def _parse(text: str, kinds: list[str]) -> Any:  # noqa: ANN401 - JSON
    if "boolean" in kinds:
        return BOOLEANS.get(text.lower(), text)
    try:
        return json.loads(text)
    except ValueError:
        return text


class CheckedPlugin(PluginBase):
    """A plugin with its own command line, which parses and validates its settings itself.

    The SDK has no public hook that runs before discovery. Its own validation fails for an empty
    environment variable where a number is expected, is limited to JSON Schema, and shows secrets.
    """

    # Settings that a config may still have, and what to do instead; each is an error.
    removed_settings: ClassVar[Mapping[str, str]] = {}

    @staticmethod
    def own_problems(config: Mapping[str, Any]) -> list[str]:
        """Return a line for each problem with the settings that only this plugin has."""
        raise NotImplementedError

    @classmethod
    @override
    def get_singer_command(cls) -> click.Command:
        return ConnectorCommand.of(super().get_singer_command(), cls.logger)

    @classmethod
    @override
    def cb_config(
        cls, ctx: click.Context, param: click.Option, value: tuple[str, ...]
    ) -> _ConfigInput:
        """Read the config files, of which later ones override earlier ones."""
        config: dict[str, Any] = {}
        for path in value:
            if path != "ENV":
                config |= read_config(path)
        return _ConfigInput(config=config, parse_env="ENV" in value)

    @classproperty
    @override
    def _env_var_config(cls) -> dict[str, Any]:  # noqa: N805 - a classproperty
        """The settings in the environment, as text."""
        schema = cls.config_jsonschema
        cls.append_builtin_config(schema)
        names = [*schema["properties"], *cls.removed_settings]
        texts = {name: {"type": "string"} for name in names}
        return parse_environment_config({"properties": texts}, cls._env_var_prefix)

    @override
    def _validate_config(self, *, raise_errors: bool = True) -> list[str]:
        """Convert the settings to their types, add defaults, and report all problems together."""
        schema = self.config_jsonschema
        self.append_builtin_config(schema)
        removed = self.removed_settings
        for line in unknown_settings(self._config.keys() - removed.keys(), schema):
            self.logger.warning("%s", line)
        self._config = typed(self._config, schema)
        found = [*problems(self._config, schema), *self.own_problems(self._config)]
        # What else is wrong may only follow from these.
        errors = [f"{n}: {text}" for n, text in removed.items() if n in self._config] or found
        if errors and raise_errors:
            raise ConfigValidationError("invalid settings", errors=errors, schema=schema)
        return errors
