"""What is wrong with the settings, in one line each, without their values."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from fnmatch import fnmatch
from importlib.util import find_spec
from typing import Any
from urllib.parse import SplitResult, urlsplit

import requests
from jsonschema import ValidationError
from singer_sdk.plugin_base import JSONSchemaValidator

from ..event_streams import CONNECTOR
from ..event_streams.quota import store_url_problems
from ..event_streams.session import DATA_CENTERS, LEGACY_DATA_CENTERS, is_loopback
from .wording import listed


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
        *dict.fromkeys(map(_line, errors)),
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
    keyword = str(error.validator)
    schema: Any = error.schema
    rule: Any = error.validator_value
    value: Any = error.instance
    known = schema.get("properties", {})
    names = [each for each in (rule if isinstance(rule, list) else [rule]) if each != "null"]
    if keyword == "type":
        text = f"must be {', or '.join(_type(schema, str(kind)) for kind in names)}"
    elif keyword == "required":
        name = next(each for each in rule if each not in value)
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
