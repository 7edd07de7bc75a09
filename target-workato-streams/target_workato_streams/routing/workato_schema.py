"""Converts a stream's JSON Schema to Workato's format (docs/api.md, "Topics")."""

from __future__ import annotations

from typing import Any, NamedTuple

_FORMATS = {"date": "date", "date-time": "date_time"}
_TYPES = {"string", "number", "integer", "boolean", "object", "array"}

Field = dict[str, Any]


class WorkatoSchema(NamedTuple):
    """The schema of a topic. Messages may contain fields that are not in it."""

    fields: list[Field]
    omitted: list[str]  # names of properties for which Workato's format has no type


def to_workato(schema: object) -> WorkatoSchema:
    """Convert the JSON Schema of an object.

    A property that may be null or is not required is optional. A property of several types, or of
    any type, is omitted, because each type of the format would reject some of its values. The same
    applies to an array with such elements. Unusual schemas do not raise exceptions.
    """
    properties = schema.get("properties") if isinstance(schema, dict) else None
    required = schema.get("required") if isinstance(schema, dict) else None
    fields: list[Field] = []
    omitted: list[str] = []
    for name, described in properties.items() if isinstance(properties, dict) else ():
        choices = _choices(described)
        typed = _typed(choices, omitted, f"{name}.")
        if typed is None:
            omitted.append(name)
            continue
        nullable = any("null" in _types(choice) for choice in choices)
        optional = nullable or not isinstance(required, list) or name not in required
        label = name.replace("_", " ").strip().capitalize() or name
        fields.append({"name": name, "label": label, "optional": optional, **typed})
    return WorkatoSchema(fields, omitted)


def _typed(choices: list[Field], omitted: list[str], prefix: str) -> Field | None:
    """Return the type and further attributes of a field; None if the format has no such type."""
    types = {name for choice in choices for name in _types(choice)} - {"null"}
    if types == {"integer", "number"}:
        types = {"number"}
    if len(types) != 1:
        return None
    (name,) = types
    described = [choice for choice in choices if name in _types(choice)]
    if name == "string":
        formats = {str(choice.get("format")) for choice in described}
        return {"type": _FORMATS.get(formats.pop(), "string") if len(formats) == 1 else "string"}
    if name == "object":
        nested = to_workato(described[0] if len(described) == 1 else {})
        omitted += [prefix + path for path in nested.omitted]
        return {"type": "object", "properties": nested.fields}
    if name == "array":
        return _array(described[0] if len(described) == 1 else {}, omitted, prefix)
    return {"type": name} if name in _TYPES else None


def _array(schema: Field, omitted: list[str], prefix: str) -> Field | None:
    inner: list[str] = []
    element = _typed(_choices(schema.get("items")), inner, prefix)
    if element is None:
        return None
    omitted += inner
    nested = {"properties": element["properties"]} if element["type"] == "object" else {}
    return {"type": "array", "of": element["type"], **nested}


def _choices(schema: object) -> list[Field]:
    """Return the alternative schemas of a field; an empty schema allows any type."""
    if not isinstance(schema, dict):
        return [{}]
    for keyword in ("anyOf", "oneOf"):
        choices = schema.get(keyword)
        if isinstance(choices, list) and choices:
            rest = {key: value for key, value in schema.items() if key != keyword}
            return [
                each
                for choice in choices
                for each in _choices({**rest, **choice} if isinstance(choice, dict) else None)
            ]
    return [schema]


def _types(schema: Field) -> set[str]:
    types = schema.get("type")
    named = {types} if isinstance(types, str) else set()
    if isinstance(types, list):
        named = {name for name in types if isinstance(name, str)}
    if types is None and isinstance(schema.get("properties"), dict):
        named = {"object"}
    # Without a known type, the field may have any value.
    return named if named and named <= {*_TYPES, "null"} else set(_TYPES)
