"""Checks of settings for both connectors; problems never contain a value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from singer_sdk.plugin_base import JSONSchemaValidator

from ..event_streams import CONNECTOR
from .connection_problems import connection_problems

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

# About 30 years; the operating system does not support much longer timeouts.
MAX_SECS = 1_000_000_000
# The text for a value that violates a keyword of JSON Schema.
RULES = {
    "minimum": "must be at least {}",
    "maximum": "must be at most {}",
    "exclusiveMinimum": "must be greater than {}",
    "exclusiveMaximum": "must be less than {}",
    "minLength": "must not be empty",
}


def problems(config: dict[str, Any], schema: dict[str, Any]) -> list[str]:
    """Add the defaults, and find all problems with the settings.

    Args:
        config: The settings; defaults are added to them.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each problem.
    """
    errors = list(JSONSchemaValidator(schema).iter_errors(config))
    rejected = {error.absolute_path[0] for error in errors if error.absolute_path}
    return [
        *[_line(error) for error in errors],
        *connection_problems(config),
        *[f"{name}: must be at most {MAX_SECS}" for name in sorted(_too_long(config) - rejected)],
        *_missing_extras(config),
    ]


def unknown_settings(config: Mapping[str, Any], schema: dict[str, Any]) -> list[str]:
    """Find settings that do not exist, such as misspelled ones.

    Args:
        config: The settings as given.
        schema: The JSON Schema of the settings.

    Returns:
        One line for each unknown setting.
    """
    known = list(schema["properties"])
    names = sorted(config.keys() - known)
    if not names:
        return []
    from difflib import get_close_matches  # noqa: PLC0415 - rarely needed

    lines = []
    for name in names:
        nearest = get_close_matches(name, known, 1)
        advice = f"; did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"{name}: unknown setting, ignored{advice}")
    return lines


def _line(error: ValidationError) -> str:
    path = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in error.absolute_path)
    rule: Any = error.validator_value
    if error.validator == "type":
        kinds = [rule] if isinstance(rule, str) else [kind for kind in rule if kind != "null"]
        text = f"must be of type {' or '.join(kinds)}"
    elif error.validator == "enum":
        text = f"must be one of {', '.join(str(value) for value in rule if value is not None)}"
    elif error.validator == "required":
        # There is an error for each missing setting, which is only in the message.
        path += f".{error.message.split(chr(39))[1]}"
        text = "must be set"
    elif error.validator == "additionalProperties":
        given: Any = error.instance
        schema: Any = error.schema
        unknown = sorted(given.keys() - schema.get("properties", {}).keys())
        text = f"unknown setting {', '.join(unknown)}"
    else:
        text = RULES.get(str(error.validator), f"is rejected by {error.validator}").format(rule)
    return f"{path.lstrip('.')}: {text}" if path else text


def _too_long(config: Mapping[str, Any]) -> set[str]:
    """Return the names of durations that are too long; NaN passes every rule of JSON Schema."""
    return {
        name
        for name, value in config.items()
        if name.endswith("_secs") and isinstance(value, int | float) and not value <= MAX_SECS
    }


def _missing_extras(config: Mapping[str, Any]) -> Iterator[str]:
    for setting, module, extra in _libraries(config):
        if find_spec(module) is None:
            advice = f"install {CONNECTOR}[{extra}] instead of {CONNECTOR}"
            yield f"{setting} needs the extra {extra}; {advice}"


def _libraries(config: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield each setting in use that needs a library, the library's module, and its extra."""
    if config.get("faker_config"):
        yield "faker_config:", "faker", "faker"
    # The SDK would only say that the expression cannot be evaluated.
    if re.search(r"\bfake\.", str(config.get("stream_maps"))):
        yield "stream_maps: fake", "faker", "faker"
    if config.get("metrics_address"):
        yield "metrics_address:", "prometheus_client", "metrics"
    scheme = str(config.get("quota_url")).partition(":")[0]
    if scheme in {"redis", "rediss"}:
        yield f"quota_url: {scheme}://", "redis", "redis"
    if scheme == "postgresql":
        yield "quota_url: postgresql://", "psycopg", "postgres"
    batch = config.get("batch_config")
    storage = batch.get("storage") if isinstance(batch, Mapping) else None
    root = storage.get("root") if isinstance(storage, Mapping) else None
    if isinstance(root, str) and root.startswith("s3://"):
        yield "batch_config: s3://", "s3fs", "s3"
