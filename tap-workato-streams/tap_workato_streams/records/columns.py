"""The columns of a payload: names, types, places in a record, and how they are inferred."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from singer_sdk.helpers._flattening import (
    FlatteningOptions,
    PluginFlatteningConfig,
    flatten_key,
    get_flattening_options,
)

from ..event_streams.json import members
from .json_values import (
    ARRAY,
    BIG_INTEGER,
    BOOLEAN,
    FORMATS,
    INTEGER,
    NULL,
    NUMBER,
    OBJECT,
    STRING,
    is_storable,
    is_storable_name,
    matches,
    type_of,
)

# The keywords of a declared schema that columns keep, besides the formats that can be checked. With
# others, such as `maxLength`, a value that violates them would fail the load.
NOTES = ("title", "description")
TYPES = (STRING, INTEGER, NUMBER, BOOLEAN, OBJECT, ARRAY)
# The types of a column of JSON: for loaders, it is the same whether it is for objects or arrays.
JSON = (OBJECT, ARRAY)

Path = tuple[str, ...]

# PostgreSQL truncates longer names, and target-postgres would then add the column in each run.
MAX_NAME_BYTES = 63


@dataclass(frozen=True)
class Column:
    """A field of a payload that becomes a column, or an object whose fields become columns."""

    types: tuple[str, ...]  # JSON Schema types, apart from null
    format: str | None = None  # "date" or "date-time"
    fields: Columns | None = None  # of an object that is flattened, and has no column itself
    notes: Mapping[str, str] = field(default_factory=dict)  # the title and description

    def __str__(self) -> str:
        """Return the type for log lines, such as `string (date-time)`."""
        return " or ".join(self.types) + (f" ({self.format})" if self.format else "")

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


def leaves(columns: Columns, parents: Path = ()) -> dict[Path, Column]:
    """Return the columns by the paths of their fields, at any depth."""
    found: dict[Path, Column] = {}
    for name, column in columns.items():
        path = (*parents, name)
        found |= leaves(column.fields, path) if column.fields else {path: column}
    return found


def from_schema(schema: Mapping[str, Any], levels: int) -> Columns:
    """Read a nullable column for each property of an object; flatten `levels` of nested objects.

    The keyword `required` is ignored, because any field may be missing from a message.
    """
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {
        name: _column(about if isinstance(about, dict) else {}, levels)
        for name, about in properties.items()
        if is_column_name(name)
    }


def _column(schema: Mapping[str, Any], levels: int) -> Column:
    notes = {key: schema[key] for key in NOTES if isinstance(schema.get(key), str)}
    types = _types(schema)
    if OBJECT in types and levels:
        options = [schema, *_options(schema, "anyOf", "oneOf", "allOf")]
        of_object = next((each for each in options if "properties" in each), {})
        if fields := from_schema(of_object, levels - 1):
            return Column((OBJECT,), fields=fields, notes=notes)
    formats = [each.get("format") for each in (schema, *_options(schema, "anyOf", "oneOf"))]
    known = (each for each in FORMATS if each in formats and STRING in types)
    return Column(types, next(known, None), notes=notes)


def is_column_name(name: str) -> bool:
    """Whether a column can have this name."""
    return bool(name) and is_storable_name(name)


def folded(name: str) -> str:
    """Return a name without case and punctuation, which the SDK's `SQLSink.conform_name` replaces.

    Runs keep their length, because `customer__id` is a flattened column beside `customer_id`.
    """
    return re.sub(r"\W", "_", name.casefold())


def merged(first: Columns, second: Columns) -> Columns:
    """Add the columns of `second` that `first` lacks, at any depth."""
    result = dict(first)
    for name, other in second.items():
        mine = result.get(name)
        if mine is None:
            result[name] = other
        elif mine.fields and other.fields:
            result[name] = replace(mine, fields=merged(mine.fields, other.fields))
    return result


def common(first: Columns, second: Columns) -> Columns:
    """Return the columns of `first` that `second` also has, at any depth."""
    result = {}
    for name, mine in first.items():
        other = second.get(name)
        if mine.fields and other and other.fields:
            if fields := common(mine.fields, other.fields):
                result[name] = replace(mine, fields=fields)
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


def _options(schema: Mapping[str, Any], *keywords: str) -> list[Mapping[str, Any]]:
    options = [each for keyword in keywords for each in _items(schema.get(keyword))]
    return [each for each in options if isinstance(each, dict)]


def _items(value: object) -> list[Any]:
    return value if isinstance(value, list) else []  # An edited catalog may contain anything.


NESTED, UNPACKED = "nested", "unpacked"
RECORD_FORMATS = (NESTED, UNPACKED)

RESCUED = "_rescued"
PAYLOAD = "payload"
PREFIX = "payload_"
# In all formats, a record has these fields.
MESSAGE_FIELDS: Mapping[str, dict[str, Any]] = {
    # Without a limit, loaders for MySQL create a key that the database rejects (error 1071).
    "message_id": {"type": "string", "maxLength": 255, "description": "Opaque; not sortable"},
    "topic_id": {"type": "integer"},
    "time": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "Time of publication",
    },
}
RESCUED_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "null"],
    "description": "Values without a column, by JSON Pointer",
}


def message_schema(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON Schema of a record with these fields next to those of the message."""
    properties = {**MESSAGE_FIELDS, **fields}
    return {"type": "object", "properties": properties, "required": ["message_id"]}


@dataclass(frozen=True)
class Layout:
    """The format of a record that is split into columns."""

    unpacked: bool  # the payload's fields are at the top level of the record, not in `payload`
    flattening: FlatteningOptions | None = None

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Layout | None:
        """Pick the format from a checked config; None for nested records without flattening."""
        flattening = None
        if config.get("flattening_enabled"):
            flattening = get_flattening_options(cast("PluginFlatteningConfig", config))
        unpacked = config["record_format"] == UNPACKED
        return cls(unpacked, flattening) if unpacked or flattening else None

    @property
    def levels(self) -> int:
        """The number of levels of objects below the payload that become columns."""
        if self.flattening is None:
            return 0
        return self.flattening.max_level - (0 if self.unpacked else 1)

    def record_path(self, path: Path) -> Path:
        """Return the path of a payload's field in the record before flattening."""
        if not self.unpacked:
            return (PAYLOAD, *path)
        is_taken = bool(path) and folded(path[0]) in MESSAGE_FIELDS
        return (PREFIX + path[0], *path[1:]) if is_taken else path

    def column_name(self, path: Path) -> str:
        """Return the name of a field's column."""
        return self.property_name(self.record_path(path))

    def property_name(self, path: Path) -> str:
        """Return the name that a path in the record has after flattening; empty if it has none."""
        if len(path) < 2 or self.flattening is None:
            return path[0] if len(path) == 1 else ""
        *parents, name = path
        options = self.flattening
        return flatten_key(name, parents, options.separator, max_key_length=options.max_key_length)

    def property_names(self, path: Path) -> list[str]:
        """Return the names of a payload's field and of the objects that it is in."""
        in_record = self.record_path(path)
        return [self.property_name(in_record[:depth]) for depth in range(1, len(in_record) + 1)]

    def contains(self, path: Path, column_name: str) -> bool:
        """Whether a field has this column, or is an object that has it when flattened."""
        name = self.column_name(path)
        separator = self.flattening.separator if self.flattening else ""
        is_inside = bool(name and separator) and column_name.startswith(name + separator)
        return column_name == name or is_inside

    def record_schema(self, columns: Columns) -> dict[str, Any]:
        """Return the JSON Schema of the record before flattening."""
        fields: dict[str, Any] = {}
        if self.unpacked:
            for name, schema in schemas(columns).items():
                member = self.record_path((name,))[0]
                may_be_renamed = folded(member.removeprefix(PREFIX)) in MESSAGE_FIELDS
                notes = {"description": f"`{name}` of the payload"} if may_be_renamed else {}
                fields[member] = {**notes, **schema}
        elif columns:  # Flattening would turn an object without properties into a text column.
            fields[PAYLOAD] = {"type": ["object", "null"], "properties": schemas(columns)}
        # New columns come last, so that they do not move others in a CSV file.
        return message_schema({RESCUED: RESCUED_SCHEMA, **fields})


def field_of(member: str, notes: Mapping[str, str]) -> str:
    """Return the field of an unpacked record's member, by the notes that `record_schema` adds."""
    field, own = member.removeprefix(PREFIX), f"`{member}` of the payload"
    return field if folded(field) in MESSAGE_FIELDS and notes.get("description") != own else member


# Some loaders store numbers as doubles, which hold all integers up to this one.
MAX_EXACT_INTEGER = 2**53


def infer_columns(payloads: Iterable[bytes], levels: int) -> Columns:
    """Infer columns from a sample of payloads; one that is not an object is ignored.

    A field that is always null has no type yet, and so no column.
    """
    samples: dict[str, list[bytes]] = {}
    for payload in payloads:
        try:
            fields = members(payload)
        except ValueError:
            continue
        for name, raw in fields.items():
            samples.setdefault(name, []).append(raw)
    return {
        name: column
        for name, values in samples.items()
        if is_column_name(name) and (column := _infer_column(values, levels))
    }


def _infer_column(values: Sequence[bytes], levels: int) -> Column | None:
    typed = [(type_of(raw), raw) for raw in values if is_storable(raw)]
    counts = Counter(kind for kind, _ in typed)
    # An integer beyond 64 bits says nothing: the column may still be an integer.
    scalars = {STRING, INTEGER, NUMBER, BOOLEAN} & counts.keys()
    scalar_count = sum(counts[kind] for kind in scalars)
    most = max(counts[OBJECT], counts[ARRAY], scalar_count)
    if not most:
        return None
    if most in (counts[OBJECT], counts[ARRAY]):
        objects = [raw for kind, raw in typed if kind == OBJECT and counts[OBJECT] == most]
        if levels and (fields := infer_columns(objects, levels - 1)):
            return Column((OBJECT,), fields=fields)
        return Column(JSON)
    if scalars == {STRING}:
        texts = [raw for kind, raw in typed if kind == STRING]
        # A single string may look like a date by chance.
        formats = FORMATS.items() if len(texts) > 1 else ()
        fitting = (name for name, each in formats if all(matches(text, each) for text in texts))
        return Column((STRING,), next(fitting, None))
    if scalars == {INTEGER, NUMBER}:
        return Column((NUMBER,))
    return Column((scalars.pop() if len(scalars) == 1 else STRING,))


def first_column(raw: bytes, levels: int) -> Column | None:
    """Return the column for the first value of a field; None if the value has no type.

    The type depends on nothing else, so that reading the same messages again gives the same column,
    and allows for what may follow: 10 may be followed by 9.99. An object counts as a level.
    """
    kind = type_of(raw)
    if kind == OBJECT and levels:
        fields = {
            name: column
            for name, value in members(raw).items()
            if is_column_name(name) and (column := first_column(value, levels - 1))
        }
        return Column((OBJECT,), fields=fields) if fields else None
    if kind == NULL or not is_storable(raw):
        return None
    if kind == INTEGER and abs(int(raw)) > MAX_EXACT_INTEGER:
        return Column((INTEGER,))
    if kind in {OBJECT, ARRAY}:
        return Column(JSON)
    return Column((NUMBER if kind in {INTEGER, BIG_INTEGER} else kind,))
