"""JSON Schemas of a topic's records: from Workato's own format, from a sample, or open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OPEN_PAYLOAD: dict[str, Any] = {"type": ["object", "null"], "additionalProperties": True}

# What is nested more deeply has no say in a schema: those who read schemas walk them recursively.
SAMPLE_LEVELS = 50

# Contract: "Developer API"; a field without a type is a string.
SCALARS: dict[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "date": {"type": "string", "format": "date"},
    "date_time": {"type": "string", "format": "date-time"},
    "timestamp": {"type": "string", "format": "date-time"},
}


def record_schema(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON Schema of a record, around that of its payload."""
    return {
        "type": "object",
        "properties": {
            "message_id": {"type": "string", "description": "Opaque; its order says nothing"},
            "topic_id": {"type": "integer"},
            "time": {"type": "string", "format": "date-time", "description": "When published"},
            "payload": dict(payload),
        },
        "required": ["message_id"],
    }


def from_workato(fields: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Turn a topic's schema in Workato's format into JSON Schema.

    Args:
        fields: The fields, as the Developer API lists them.

    Returns:
        The schema of an object in which every field may be null: the format says which fields
        may be left out, and a payload that does not fit goes through all the same.
    """
    return {
        "type": ["object", "null"],
        "properties": {field["name"]: _nullable(_field(field)) for field in fields},
        "additionalProperties": True,
    }


def from_sample(payloads: Iterable[object]) -> dict[str, Any]:
    """Infer the JSON Schema of payloads from some of them.

    Args:
        payloads: Decoded payloads.

    Returns:
        A schema in which everything may be null or absent, since a sample shows only some.
    """
    from genson import SchemaBuilder  # noqa: PLC0415 - only discovery needs it

    builder = SchemaBuilder(schema_uri=None)
    for payload in payloads:
        if not _is_deeper(payload, SAMPLE_LEVELS):
            builder.add_object(payload)
    schema = builder.to_schema()
    return _widened(schema) if schema else OPEN_PAYLOAD


def _field(field: Mapping[str, Any]) -> dict[str, Any]:
    kind = field.get("type") or "string"
    if kind == "object":
        schema = from_workato(field.get("properties") or [])
    elif kind == "array":
        schema = {"type": "array", "items": _nullable(_field({**field, "type": field.get("of")}))}
    else:
        # A type that this version does not know is left open, so that nothing is turned away.
        schema = dict(SCALARS.get(kind, {}))
    label = field.get("label")
    return {**schema, "title": label} if label else schema


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kinds = schema.get("type")
    if kinds is None:
        return schema
    kinds = [kinds] if isinstance(kinds, str) else list(kinds)
    return {**schema, "type": kinds if "null" in kinds else [*kinds, "null"]}


def _is_deeper(value: object, levels: int) -> bool:
    """Whether a decoded value has objects or arrays within each other for more than so many."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(_is_deeper(each, levels - 1) for each in inner)


def _widened(schema: dict[str, Any]) -> dict[str, Any]:
    """Let a schema of genson, at every depth, allow null and what the sample did not show."""
    wide = {key: value for key, value in schema.items() if key != "required"}
    if "properties" in wide:
        wide["properties"] = {k: _widened(v) for k, v in wide["properties"].items()}
        wide["additionalProperties"] = True
    if "items" in wide:
        wide["items"] = _widened(wide["items"])
    if "anyOf" in wide:
        wide["anyOf"] = [_widened(option) for option in wide["anyOf"]]
    return _nullable(wide)
