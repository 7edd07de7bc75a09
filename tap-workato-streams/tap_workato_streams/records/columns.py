"""The columns of a payload: one per field or, with flattening, per nested field."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .json_values import (
    ARRAY,
    BOOLEAN,
    FORMAT_PATTERNS,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    is_storable_name,
    type_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# The keywords of a declared schema that columns keep, besides the formats that can be checked. With
# others, such as `maxLength`, a value that violates them would fail the load.
NOTES = ("title", "description")
TYPES = (STRING, INTEGER, NUMBER, BOOLEAN, OBJECT, ARRAY)

Path = tuple[str, ...]


@dataclass(frozen=True)
class Column:
    """A field of a payload that becomes a column, or an object whose fields become columns.

    Args:
        types: The JSON Schema types of its values, apart from null.
        format: ``date`` or ``date-time``.
        fields: The columns of an object that is flattened, and has no column itself.
        notes: The title and description.
    """

    types: tuple[str, ...]
    format: str | None = None
    fields: Columns | None = None
    notes: Mapping[str, str] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of the column, without types inside objects and arrays."""
        schema: dict[str, Any] = {"type": [*self.types, NULL], **self.notes}
        if self.format:
            schema["format"] = self.format
        if self.fields:
            schema["properties"] = schemas(self.fields)
        return schema


Columns = dict[str, Column]


def schemas(columns: Columns) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of each column by field name."""
    return {name: column.schema() for name, column in columns.items()}


def paths(columns: Columns, parents: Path = ()) -> list[Path]:
    """Return the paths of the fields that have a column, at any depth."""
    found: list[Path] = []
    for name, each in columns.items():
        path = (*parents, name)
        found += paths(each.fields, path) if each.fields else [path]
    return found


def from_schema(schema: Mapping[str, Any], levels: int) -> Columns:
    """Read columns from the JSON Schema of an object.

    Args:
        schema: The JSON Schema of the payload.
        levels: How many levels of objects below the payload are flattened.

    Returns:
        A column for each property, nullable and without ``required``, because any field may be
        missing from a message.
    """
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        name: column(about if isinstance(about, dict) else {}, levels)
        for name, about in properties.items()
        if is_column_name(name)
    }


def column(schema: Mapping[str, Any], levels: int) -> Column:
    """Read one column from a JSON Schema."""
    notes = {key: schema[key] for key in NOTES if isinstance(schema.get(key), str)}
    types = _types(schema)
    if OBJECT in types and levels and (fields := from_schema(_of_object(schema), levels - 1)):
        return Column((OBJECT,), fields=fields, notes=notes)
    return Column(types, _format(schema) if STRING in types else None, notes=notes)


def is_column_name(name: str) -> bool:
    """Whether a column can have this name."""
    return bool(name) and is_storable_name(name)


def merged(first: Columns, second: Columns) -> Columns:
    """Add the columns of `second` that `first` lacks, at any depth."""
    result = dict(first)
    for name, other in second.items():
        mine = result.get(name)
        if mine is None:
            result[name] = other
        elif mine.fields and other.fields:
            result[name] = Column(
                mine.types, fields=merged(mine.fields, other.fields), notes=mine.notes
            )
    return result


def common(first: Columns, second: Columns) -> Columns:
    """Return the columns of `first` that `second` also has, at any depth."""
    result = {}
    for name, mine in first.items():
        other = second.get(name)
        if mine.fields and other and other.fields:
            if fields := common(mine.fields, other.fields):
                result[name] = Column(mine.types, fields=fields, notes=mine.notes)
        elif other and not mine.fields:
            result[name] = mine
    return result


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    found = set(_named_types(schema))
    if NUMBER in found:
        found.discard(INTEGER)
    # As in the SDK's flattening, a property without a type is text.
    return tuple(each for each in TYPES if each in found) or (STRING,)


def _named_types(schema: Mapping[str, Any]) -> Iterable[str]:
    named = schema.get("type")
    if named:
        yield from [named] if isinstance(named, str) else _items(named)
        return
    for option in _options(schema, "anyOf", "oneOf", "allOf"):
        yield from _named_types(option)
    constants = [schema["const"]] if "const" in schema else []
    for value in [*_items(schema.get("enum")), *constants]:
        yield type_of(json.dumps(value).encode())
    if "properties" in schema:
        yield OBJECT
    if "items" in schema:
        yield ARRAY


def _format(schema: Mapping[str, Any]) -> str | None:
    formats = [each.get("format") for each in (schema, *_options(schema, "anyOf", "oneOf"))]
    return next((each for each in FORMAT_PATTERNS if each in formats), None)


def _of_object(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema with properties: the schema itself, or one of its alternatives."""
    options = [schema, *_options(schema, "anyOf", "oneOf", "allOf")]
    return next((each for each in options if "properties" in each), {})


def _options(schema: Mapping[str, Any], *keywords: str) -> list[Mapping[str, Any]]:
    options = [each for keyword in keywords for each in _items(schema.get(keyword))]
    return [each for each in options if isinstance(each, dict)]


def _items(value: object) -> list[Any]:
    """Return the items of a list; an edited catalog may contain something else instead."""
    return value if isinstance(value, list) else []
