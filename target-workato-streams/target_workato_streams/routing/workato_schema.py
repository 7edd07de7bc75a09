"""A stream's JSON Schema in Workato's own format (contract: "Developer API")."""

from __future__ import annotations

from typing import Any

_FORMATS = {"date": "date", "date-time": "date_time"}
_TYPES = ("object", "array", "string", "number", "integer", "boolean")


def to_workato(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """Turn the JSON Schema of an object into a list of fields.

    A field that may be null, or is not required, is optional. A field that may be of several types
    becomes a string if that is one of them, and of the widest of them else.

    Args:
        schema: The JSON Schema of the records.

    Returns:
        The fields, in the order of the schema.
    """
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "label": name.replace("_", " ").strip().capitalize() or name,
            "optional": name not in required or "null" in _types(field),
            **_typed(field),
        }
        for name, field in schema.get("properties", {}).items()
    ]


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    """The type of a field, and what the type needs beside it."""
    chosen = _choose(schema)
    types = _types(chosen) - {"null"}
    if "string" in types or not types:
        return {"type": _FORMATS.get(str(chosen.get("format")), "string")}
    name = next(name for name in _TYPES if name in types)
    if name == "object":
        return {"type": "object", "properties": to_workato(chosen)}
    if name == "array":
        items = chosen.get("items")
        element = _typed(items if isinstance(items, dict) else {})
        inner = {"properties": element["properties"]} if element["type"] == "object" else {}
        return {"type": "array", "of": element["type"], **inner}
    return {"type": name}


def _choose(schema: dict[str, Any]) -> dict[str, Any]:
    """The alternative that a field of several is described by: the first that is not null."""
    for keyword in ("anyOf", "oneOf", "allOf"):
        for choice in schema.get(keyword, ()):
            if isinstance(choice, dict) and _types(choice) - {"null"}:
                return {**schema, **choice, keyword: ()}
    return schema


def _types(schema: object) -> set[str]:
    if not isinstance(schema, dict):
        return set()
    types = schema.get("type", ())
    found = {types} if isinstance(types, str) else set(types)
    for keyword in ("anyOf", "oneOf"):
        for choice in schema.get(keyword, ()):
            found |= _types(choice)
    if not found and "properties" in schema:
        found = {"object"}
    return found & {*_TYPES, "null"}
