"""The JSON Schema of a topic's payloads: from the settings, from Workato, or open."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonschema.exceptions import SchemaError
from referencing.exceptions import Unresolvable
from singer_sdk.singerlib import resolve_schema_references
from singer_sdk.typing import DEFAULT_JSONSCHEMA_VALIDATOR

from ..event_streams.errors import SettingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPEN_PAYLOAD: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": True}

# docs/api.md, "Topics"; a field without a type is a string.
SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": ["string", "null"]},
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "null"]},
    "boolean": {"type": ["boolean", "null"]},
    "date": {"type": ["string", "null"], "format": "date"},
    "date_time": {"type": ["string", "null"], "format": "date-time"},
    "timestamp": {"type": ["string", "null"], "format": "date-time"},
}


def from_settings(topic: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the JSON Schema in an item of the setting `topics`, or in its file `schema_path`.

    Its references are resolved, because it becomes part of another schema.
    """
    schema, where = topic.get("schema"), "schema"
    if path := topic.get("schema_path"):
        schema, where = _loaded(path), f"schema_path: {path}"
    if not schema or not isinstance(schema, dict):
        return None
    try:
        DEFAULT_JSONSCHEMA_VALIDATOR.check_schema(schema)
        return resolve_schema_references(deepcopy(schema))
    except SchemaError as exc:
        reason = exc.message
    except Unresolvable as exc:
        reason = f"{exc.ref} does not exist"
    except RecursionError:
        reason = "a $ref refers to itself, which the SDK does not support"
    except TypeError:
        reason = "the SDK does not support true or false as a schema; write {}"
    raise SettingError(f"{where} is not a JSON Schema: {reason}")


def from_workato(fields: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Convert the fields that the Developer API lists to the JSON Schema of an object.

    Any field may be null, because Workato's format does not say which ones may, and a payload that
    does not conform is also emitted.
    """
    return {
        "type": ["object", "null"],
        # A field without a name cannot be matched to a key.
        "properties": {f["name"]: _field(f) for f in fields if f.get("name")},
        "additionalProperties": True,
    }


def _loaded(path: object) -> dict[str, Any]:
    try:
        schema = json.loads(Path(str(path)).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        schema = None
    if not isinstance(schema, dict):
        raise SettingError(f"schema_path: {path} is not a file that contains a JSON Schema")
    return schema


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    kind = field.get("type") or "string"
    if kind == "object":
        schema = from_workato(field.get("properties") or [])
    elif kind == "array":
        items = _field({**field, "type": field.get("of")})
        schema = {"type": ["array", "null"], "items": items}
    else:
        # An unknown type is left open, so that no value is rejected.
        schema = deepcopy(SCALARS.get(kind, {}))
    label = field.get("label")
    return {**schema, "title": label} if label else schema
