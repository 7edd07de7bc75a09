"""The policy for data that does not fit, and which field owns the name of a column."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import msgspec

from ..plugin.wording import shown
from .columns import (
    MAX_NAME_BYTES,
    MESSAGE_FIELDS,
    PAYLOAD,
    RESCUED,
    Column,
    Columns,
    Layout,
    Path,
    field_of,
    first_column,
    folded,
    from_schema,
    leaves,
    merged,
    schemas,
)
from .json_values import FIRST_BYTES, NUMBER, OBJECT, as_text, needs_text

MAX_FIELDS = 20  # that are counted separately, since payloads may have ids as field names


class RescuedValue(NamedTuple):
    """A value that has no column, or does not fit its column."""

    path: Path
    raw: bytes
    has_column: bool
    name: str | None = None  # of a field whose name no database can store: `path` is its object's

    @property
    def is_null(self) -> bool:
        """Whether the value is null, which fails nothing and is not counted."""
        return self.raw == b"null"


def pointer(path: Path) -> str:
    """Return the JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rescued_object(values: Sequence[RescuedValue]) -> bytes:
    """Build the object `_rescued`, which maps JSON Pointers to values.

    Values are unchanged, or JSON text if no database can store them. A field whose name cannot be
    stored is in the JSON text of an object, under the pointer to the object that it is in.
    """
    members: list[bytes] = []
    unnamed: dict[Path, list[bytes]] = {}
    for path, raw, _, name in values:
        if name is None:
            is_text = raw != b"null" and needs_text(raw)
            members.append(_key(path) + (as_text(raw) if is_text else raw))
        else:
            unnamed.setdefault(path, []).append(b"%b:%b" % (json.dumps(name).encode(), raw))
    for path, fields in unnamed.items():
        members.append(_key(path) + as_text(b"{%b}" % b",".join(fields)))
    return b"{%b}" % b",".join(members)


@lru_cache(maxsize=1000)  # It is usually the same fields that are rescued.
def _key(path: Path) -> bytes:
    return msgspec.json.encode(pointer(path)) + b":"


def schema_problem(value: RescuedValue) -> str:
    """Return the problem of a message with a value that does not fit the schema."""
    reason = "does not fit the schema" if value.has_column else "is not in the schema"
    return f"{shown(pointer(value.path)) or 'its payload'} {reason}"


def key_problem(name: str, *, has_value: bool) -> str:
    """Return the problem of a message without a key property."""
    about = f"{name}, which is a key property"
    problem = f"it has no value for {about}"
    if has_value:
        problem = f"its value for {about}, does not fit the column"
    return f"{problem}; remove such messages with a __filter__ in stream_maps"


class FieldCounts:
    """The number of values of each field, without nulls."""

    def __init__(self) -> None:
        self._counts: Counter[Path | None] = Counter()  # None for all fields after the first ones
        self.has_number = False

    def add(self, value: RescuedValue) -> None:
        """Count a value."""
        if value.is_null:
            return
        is_named = value.path in self._counts or len(self._counts) < MAX_FIELDS
        self._counts[value.path if is_named else None] += 1
        self.has_number |= bool(value.path) and value.raw[0] in FIRST_BYTES[NUMBER]

    def __str__(self) -> str:
        """Return a text such as `/total (12), /note (1)`; empty if there are no values."""
        return ", ".join(f"{_shown(path)} ({count:,})" for path, count in self._counts.items())


def _shown(path: Path | None) -> str:
    return "other fields" if path is None else shown(pointer(path)) or "the payload"


ADD_COLUMNS, RESCUE, FAIL, NONE = "add_columns", "rescue", "fail", "none"
ADD_COLUMNS_NEXT_RUN = "add_columns_next_run"  # `ADD_COLUMNS` that is deferred
MODES = (ADD_COLUMNS, ADD_COLUMNS_NEXT_RUN, RESCUE, FAIL, NONE)

# PostgreSQL allows 1,600 columns, and fewer in wide rows. Further fields are rescued, so that
# payloads with ids as field names do not block the load.
MAX_COLUMNS = 1000
MAX_SETTLED = 10 * MAX_COLUMNS  # remembered fields, limited for the same reason
SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})  # PostgreSQL's


@dataclass(frozen=True)
class Evolution:
    """The handling of data that does not fit."""

    layout: Layout
    mode: str = RESCUE  # the setting `schema_evolution`
    keys: Collection[str] = ()  # the columns that are key properties, and that no stream map sets
    is_deferred: bool = False  # new columns wait for the next run, once there is a SCHEMA
    deselected: Collection[Path] = frozenset()  # the paths in the record
    sets: frozenset[str] = frozenset()  # the properties that stream maps set
    removes: frozenset[str] = frozenset()  # and those that they remove

    @cached_property
    def rescues(self) -> bool:
        """Whether `_rescued` is selected; if not, new fields are not selected, either."""
        return (RESCUED,) not in self.deselected

    @cached_property
    def drops(self) -> bool:
        """Whether values that do not fit their columns are dropped."""
        return self.mode == NONE or not self.rescues

    @cached_property
    def adds_columns(self) -> bool:
        """Whether new fields become columns."""
        return self.mode == ADD_COLUMNS and self.rescues

    @cached_property
    def _mapped(self) -> dict[str, str]:
        return {folded(name): name for name in self.sets | self.removes}

    @cached_property
    def excludes(self) -> bool:
        """Whether there are fields that are never rescued."""
        return bool(self.deselected or self._mapped)

    def reserves(self, path: Path) -> bool:
        """Whether a field's column would be in the way of a property that a stream map sets."""
        name = self.layout.column_name(path)
        exact = self._mapped.get(folded(name), name)
        return name != exact or (name in self.sets and len(self.layout.record_path(path)) > 1)

    def deselects(self, path: Path) -> bool:
        """Whether the catalog deselects a field, or an object that it is in."""
        return contains(self.deselected, self.layout.record_path(path))

    def is_mapped(self, path: Path) -> bool:
        """Whether a stream map sets or removes a field, or an object that it is in (`folded`).

        Such a field is never rescued, because people remove fields to protect personal data.
        """
        return any(folded(name) in self._mapped for name in self.layout.property_names(path))


class ColumnRegistry:
    """The columns of a topic so far, at first those in `known`, in order of precedence.

    A column keeps its first type, and a name its first field. Names that differ only by case
    or punctuation are the same (`folded`). For example, if `{"a": {"b": 1}, "a__b": 2}` is
    flattened, the name `a__b` belongs to `a.b`, and the field `a__b` is rescued. The object itself
    has the name `a`, because the SDK does not flatten an object that has the name of a column.
    """

    def __init__(self, evolution: Evolution, *known: Columns) -> None:
        self._layout = evolution.layout
        self._evolution = evolution
        self._names: dict[str, Path] = dict.fromkeys((*MESSAGE_FIELDS, RESCUED), ())
        self._settled: set[Path] = set()
        self.columns: Columns = {}
        for columns in known:
            self.columns = merged(self.columns, self._admit(columns))

    def add(self, values: Iterable[RescuedValue]) -> bool:
        """Create columns for fields of a message; return whether there are new ones.

        A field without a type, such as one that is null, has to wait.
        """
        found: Columns = {}
        for path, raw, has_column, name in values:
            if has_column or name is not None or not path[-1] or path in self._settled:
                continue
            if self._is_full or len(self._settled) >= MAX_SETTLED:
                break
            first = first_column(raw, self._layout.levels - len(path) + 1)
            # An object may get further columns later, unless it was a value at first.
            for leaf, column in leaves({path[-1]: first}, path[:-1]).items() if first else ():
                owner = self._names.get(folded(self._layout.column_name(leaf)))
                if owner != leaf and not contains(self._settled, leaf):
                    self._settled.add(leaf)
                    field = {leaf[-1]: column}
                    for parent in reversed(leaf[:-1]):
                        field = {parent: Column((OBJECT,), fields=field)}
                    found = merged(found, field)
        added = self._admit(found)
        self.columns = merged(self.columns, added)
        return bool(added)

    @property
    def _is_full(self) -> bool:
        return len(self._names) >= MAX_COLUMNS + len(MESSAGE_FIELDS) + 1

    def _admit(self, columns: Columns, parents: Path = ()) -> Columns:
        """Return the columns below ``parents`` whose names do not belong to other fields."""
        admitted: Columns = {}
        # A field's own name takes precedence over another field's name with a prefix.
        names = sorted(columns, key=lambda name: not parents and folded(name) in MESSAGE_FIELDS)
        for name in names:
            path, column = (*parents, name), columns[name]
            before = dict(self._names)
            if not self._claim(path):
                continue
            if not column.fields:
                admitted[name] = column
            elif fields := self._admit(column.fields, path):
                admitted[name] = replace(column, fields=fields)
            else:
                self._names = before
        return {name: admitted[name] for name in columns if name in admitted}

    def _claim(self, path: Path) -> bool:
        name = self._layout.column_name(path)
        if self._is_full or len(name.encode()) > MAX_NAME_BYTES:
            return False
        # target-postgres escapes a percent sign in the name of a column that it adds, and loaders
        # based on the SDK overwrite columns with the prefix `_sdc_`.
        if "%" in name or name.startswith("_sdc_") or name.lower() in SYSTEM_COLUMNS:
            return False
        if self._evolution.reserves(path):
            return False
        return self._names.setdefault(folded(name), path) == path


MAX_LEVELS = 100  # more levels of objects than any bookmark has


def from_bookmark(value: object, levels: int) -> Columns:
    """Read the columns in a bookmark; raise ValueError if the tap did not write them like this."""
    if value is None:
        return {}
    schema = {"properties": value}
    if schemas(from_schema(schema, MAX_LEVELS)) != value:
        raise ValueError("columns must be an object with a JSON Schema per field name")
    return from_schema(schema, levels)


def changed_types(declared: Columns, bookmarked: Columns, layout: Layout) -> list[str]:
    """Describe the columns whose declared type differs from that of the last run, for the log."""
    before = leaves(bookmarked)
    return [
        f"{shown(layout.column_name(path))} from {before[path]} to {column}"
        for path, column in leaves(declared).items()
        if path in before and str(before[path]) != str(column)
    ]


def from_catalog(schema: Mapping[str, Any], layout: Layout) -> Columns:
    """Read the columns in the schema of the records in a catalog."""
    if not layout.unpacked:
        return from_schema((schema.get("properties") or {}).get(PAYLOAD) or {}, layout.levels)
    columns, fixed = from_schema(schema, layout.levels), {*MESSAGE_FIELDS, RESCUED}
    return {field_of(name, c.notes): c for name, c in columns.items() if name not in fixed}


def contains(paths: Collection[Path], path: Path) -> bool:
    """Whether a path, or an object that it is in, is one of these."""
    return any(path[:depth] in paths for depth in range(1, len(path) + 1))


def key_path(columns: Columns, name: str, layout: Layout) -> Path | None:
    """Return the path of the field whose column is a key property, if there is one."""
    return next((path for path in leaves(columns) if layout.column_name(path) == name), None)
