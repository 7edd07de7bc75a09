"""The JSON Schema of a topic's payloads, if the settings do not contain it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

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
