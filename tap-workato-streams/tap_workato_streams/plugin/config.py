"""The config of both connectors: its files, its types, and all of its problems at once."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any, ClassVar
from urllib.parse import SplitResult, urlsplit

import click
import requests
from jsonschema import ValidationError
from singer_sdk import typing as th
from singer_sdk.configuration._dict_config import parse_environment_config
from singer_sdk.exceptions import ConfigValidationError
from singer_sdk.helpers._classproperty import classproperty
from singer_sdk.plugin_base import JSONSchemaValidator, PluginBase, _ConfigInput
from typing_extensions import override

from ..event_streams import CONNECTOR
from ..event_streams.errors import SettingError
from ..event_streams.json import decode
from ..event_streams.quota import store_url_problems
from ..event_streams.session import DATA_CENTERS, LEGACY_DATA_CENTERS, is_loopback
from .command import ConnectorCommand
from .wording import listed

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


def connection_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each problem with tokens, URLs and addresses, without their values."""
    checks = {
        "api_token": _token_problem,
        "api_url": _url_problem,
        "developer_api_token": _token_problem,
        "developer_api_url": _url_problem,
        "metrics_address": _address_problem,
    }
    for name, check in checks.items():
        value = config.get(name)
        if isinstance(value, str) and (problem := check(value)):
            yield f"{name}: {problem}"
    quota_url = config.get("quota_url")
    if isinstance(quota_url, str):
        yield from (f"quota_url: {problem}" for problem in store_url_problems(quota_url))
        if config.get("max_requests_per_minute") is None:
            yield "quota_url: requires max_requests_per_minute, the quota that all processes share"
    center = config.get("data_center")
    if config.get("legacy_api") is True and center in {*DATA_CENTERS} - {*LEGACY_DATA_CENTERS}:
        yield f"legacy_api: the data center {center} has no legacy domain"


def _token_problem(token: str) -> str | None:
    if not re.fullmatch(r"[!-~]+", token):
        return "contains whitespace, a line break or another character that tokens cannot have"
    return None


def _url_problem(url: str) -> str | None:
    try:
        requests.Request("GET", url).prepare()
        parts = _split(url)
    except ValueError:
        return "is not a URL that begins with https://"
    if not parts.hostname or parts.scheme not in {"http", "https"}:
        return "is not a URL that begins with https://"
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must not contain a user name, password, query or fragment"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return "http would send the token in clear text; use https"
    return None


def _address_problem(address: str) -> str | None:
    try:
        parts = _split(f"//{address}")
        is_valid = parts.hostname and parts.port is not None and not parts.path
    except ValueError:
        is_valid = False
    return None if is_valid else "must be host:port, such as 127.0.0.1:9464"


def _split(url: str) -> SplitResult:
    """Split a URL; ValueError if its port is not a number, or its host cannot be looked up."""
    parts = urlsplit(url)
    _ = parts.port
    (parts.hostname or "").encode("idna")
    return parts


# The text for a value that violates a keyword of JSON Schema: the library's would quote the value.
RULES = {
    "enum": "must be one of {}",
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "minLength": "must not be empty",
}
TYPES = {
    "array": "a list",
    "object": "an object",
    "string": "text, in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
}


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Add the defaults to the settings, and return a line for each problem with them."""
    errors = JSONSchemaValidator(schema).iter_errors(config)
    return [
        *map(_line, errors),
        *connection_problems(config),
        *_expression_problems(config),
        *_missing_extras(config),
    ]


def unknown_settings(names: Collection[str], schema: dict[str, Any]) -> list[str]:
    """Return a line for each setting that does not exist, such as a misspelled one."""
    lines = []
    for name in sorted({*names} - schema["properties"].keys()):
        nearest = get_close_matches(name, schema["properties"], 1)
        advice = f"; did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"{name}: unknown setting, ignored{advice}")
    return lines


def _line(error: ValidationError) -> str:
    path = error.json_path.lstrip("$.")
    keyword, rule = str(error.validator), error.validator_value
    schema: Any = error.schema
    value: Any = error.instance
    known = schema.get("properties", {})
    names = [each for each in (rule if isinstance(rule, list) else [rule]) if each != "null"]
    if keyword == "type":
        text = f"must be {' or '.join(_type(schema, str(kind)) for kind in names)}"
    elif keyword == "required":
        [name] = re.findall("^'(.+)' is a required property$", error.message)
        path = f"{path}.{name}".lstrip(".")
        what = known.get(name, {}).get("description", "value")
        text = f"is missing; set it to the {what[0].lower()}{what[1:]}"
    elif keyword == "additionalProperties":
        unknown = sorted(value.keys() - known.keys())
        nearest = nearest_first(unknown[0], known)
        text = f"unknown key {', '.join(unknown)}; write one of {', '.join(nearest)}"
    else:
        text = RULES.get(keyword, f"is rejected by {keyword}").format(", ".join(map(str, names)))
    return f"{path}: {text}" if path else text


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """Sort known names by their similarity to an unknown one."""
    names = list(known)
    return get_close_matches(name, names, max(1, len(names)), cutoff=0)


def _type(schema: Mapping[str, Any], kind: str) -> str:
    example = _example({**schema, "type": kind})
    has_more = kind in {"array", "object", "integer", "number"} and example
    return f"{TYPES[kind]}, such as {json.dumps(example)}" if has_more else TYPES[kind]


def _example(schema: Mapping[str, Any]) -> Any:  # noqa: ANN401 - JSON
    """Return a short value of a setting; empty if nothing is known about its content."""
    kinds = schema.get("type", "object")
    kind = kinds if isinstance(kinds, str) else kinds[0]
    if kind == "array":
        return [_example(schema["items"])]
    if kind == "object":
        values = schema.get("additionalProperties")
        named = {"orders": values} if isinstance(values, dict) else schema.get("properties") or {}
        return {name: _example(named[name]) for name in list(named)[:1]}
    number = schema.get("default", schema.get("minimum", 11))
    return {"string": "text", "boolean": True}.get(kind, number)


def _expression_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each stream map that is not Python; the SDK's error names no property."""
    for stream, map_ in _stream_maps(config).items():
        for name, rule in map_.items() if isinstance(map_, dict) else ():
            is_option = name in {"__source__", "__alias__", "__else__"} or rule == "__NULL__"
            if is_option or not isinstance(rule, str):
                continue
            try:
                reason = "" if ast.parse(rule).body else "it is empty"
            except (SyntaxError, ValueError) as exc:
                reason = exc.args[0]
            if reason:
                remedy = "write a Python expression, such as str(id)"
                yield f"stream_maps: {stream}: {name} is not an expression ({reason}); {remedy}"


def unmatched_maps(config: Mapping[str, Any], streams: Collection[str]) -> Iterator[str]:
    """Yield a line for each stream map that applies to none of the streams."""
    for name, map_ in _stream_maps(config).items():
        source = map_.get("__source__", name) if isinstance(map_, dict) else name
        matches = any(source == stream or fnmatch(stream, source) for stream in streams)
        if streams and not matches and name != "__else__":
            names = listed(nearest_first(source, streams))
            yield f"stream_maps: {source} matches no stream, ignored; the streams are {names}"


def _stream_maps(config: Mapping[str, Any]) -> dict[str, Any]:
    maps = config.get("stream_maps")
    return maps if isinstance(maps, dict) else {}


# The settings that need an optional library: how an error begins, the name, a pattern in the value,
# the module of the library, and its extra. The SDK imports some only after the first request.
EXTRAS = (
    ("faker_config:", "faker_config", "", "faker", "faker"),
    ("stream_maps: fake", "stream_maps", r"\bfake\.", "faker", "faker"),
    ("metrics_address:", "metrics_address", "", "prometheus_client", "metrics"),
    ("quota_url: redis://", "quota_url", "^redis:", "redis", "redis"),
    ("quota_url: rediss://", "quota_url", "^rediss:", "redis", "redis"),
    ("quota_url: postgresql://", "quota_url", "^postgresql:", "psycopg", "postgres"),
    ("published_rows_url:", "published_rows_url", "^postgresql:", "psycopg", "postgres"),
)


def _missing_extras(config: Mapping[str, Any]) -> Iterator[str]:
    for label, name, pattern, module, extra in EXTRAS:
        value = config.get(name)
        if value and re.search(pattern, str(value)) and find_spec(module) is None:
            yield (
                f"{label} needs the extra {extra}; add [{extra}] to the pip_url of {CONNECTOR} and "
                "run meltano install"
            )


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
