"""Schema evolution: what becomes a column, and what happens to data that does not fit."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..plugin.wording import shown
from .columns import (
    MESSAGE_FIELDS,
    PAYLOAD,
    PREFIX,
    RESCUED,
    Column,
    from_schema,
    infer_column,
    merged,
    paths,
    prefixed_notes,
    schemas,
)
from .json_values import as_text, needs_text

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from .columns import Columns, Layout, Path

NULL = b"null"
# Limits the number of counted fields, since payloads may have ids as field names.
MAX_FIELDS = 20


class Misfit(NamedTuple):
    """A value that does not fit the columns.

    ``name`` is only set for a field whose name no database can store; ``path`` is then the path of
    its object.
    """

    path: Path
    raw: bytes
    is_unknown: bool
    name: str | None = None


def pointer(path: Path) -> str:
    """Return the JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rescued_object(misfits: Sequence[Misfit]) -> bytes:
    """Build the object `_rescued`, which maps JSON Pointers to values that do not fit the columns.

    Values are unchanged, or JSON text if no database can store them. A field whose name no database
    can store is kept in the JSON text of an object, under the pointer to the object that contains
    the field.
    """
    members: list[bytes] = []
    unnamed: dict[Path, list[bytes]] = {}
    for path, raw, _, name in misfits:
        if name is None:
            members.append(_key(path) + (as_text(raw) if needs_text(raw) else raw))
        else:
            unnamed.setdefault(path, []).append(b"%b:%b" % (json.dumps(name).encode(), raw))
    for path, fields in unnamed.items():
        members.append(_key(path) + as_text(b"{%b}" % b",".join(fields)))
    return b"{%b}" % b",".join(members)


# Cached, because it is usually the same fields that do not fit.
@lru_cache(maxsize=1000)
def _key(path: Path) -> bytes:
    return msgspec.json.encode(pointer(path)) + b":"


def schema_problem(misfit: Misfit) -> str:
    """Return the problem of a message with a value that does not fit."""
    reason = "is not in the schema" if misfit.is_unknown else "does not fit the schema"
    return f"{shown(pointer(misfit.path)) or 'its payload'} {reason}"


def key_problem(name: str, *, is_misfit: bool | None) -> str:
    """Return the problem of a message without a key property.

    Args:
        name: The key property.
        is_misfit: Whether its value does not fit the column; None if this is unknown.
    """
    about = f"{name}, which is a key property"
    if is_misfit:
        problem = f"its value for {about}, does not fit the column"
    else:
        problem = f"it has no {'valid ' if is_misfit is None else ''}value for {about}"
    return f"{problem}; remove such messages with a __filter__ in stream_maps"


class MisfitCounts:
    """The number of values of each field that did not fit the columns, without nulls."""

    def __init__(self) -> None:
        # None counts the values of all fields after the first ones.
        self._counts: Counter[Path | None] = Counter()

    def add(self, misfits: Sequence[Misfit]) -> None:
        """Count the misfits of a message."""
        for path, raw, *_ in misfits:
            if raw != NULL:
                is_named = path in self._counts or len(self._counts) < MAX_FIELDS
                self._counts[path if is_named else None] += 1

    def __str__(self) -> str:
        """Return a text such as `/total (12), /note (1)`; empty if all values fit."""
        return ", ".join(f"{_name(path)} ({count:,})" for path, count in self._counts.items())


def _name(path: Path | None) -> str:
    if path is None:
        return "other fields"
    return shown(pointer(path)) or "the payload"


ADD_COLUMNS, RESCUE, FAIL, NONE = "add_columns", "rescue", "fail", "none"
MODES = (ADD_COLUMNS, RESCUE, FAIL, NONE)

# PostgreSQL allows 1,600 columns, and fewer in wide rows. Further fields are rescued, so that
# payloads with ids as field names do not block the load.
MAX_COLUMNS = 1000
# The maximum number of remembered fields, for the same reason.
MAX_SETTLED = 10 * MAX_COLUMNS
# PostgreSQL truncates longer names, and target-postgres would then add the column in each run.
MAX_NAME_BYTES = 63


def evolution_mode(config: Mapping[str, Any], *, is_declared: bool) -> str:
    """Return the setting `schema_evolution`, or its default for a topic."""
    mode: str | None = config.get("schema_evolution")
    if mode:
        return mode
    return RESCUE if is_declared or config.get("batch_config") else ADD_COLUMNS


@dataclass(frozen=True)
class Evolution:
    """The handling of data that does not fit.

    Args:
        mode: The setting `schema_evolution`.
        is_deferred: Whether new columns have to wait for the next run.
        deselected: The paths in the record that the catalog deselects.
        required: The fields of the payload that are key properties.
    """

    mode: str
    is_deferred: bool = False
    deselected: Collection[Path] = frozenset()
    required: Collection[str] = ()

    @cached_property
    def rescues(self) -> bool:
        """Whether `_rescued` is selected; if not, new fields are not selected, either."""
        return (RESCUED,) not in self.deselected

    @cached_property
    def drops(self) -> bool:
        """Whether values that do not fit their columns are dropped."""
        return self.mode == NONE or not self.rescues


class ColumnRegistry:
    """The columns of a topic so far. A column keeps its first type, and a name its first field.

    Args:
        layout: The format of the record.
        known: The columns at the start of the run, in order of precedence.
    """

    def __init__(self, layout: Layout, *known: Columns) -> None:
        self._layout = layout
        taken = (*MESSAGE_FIELDS, RESCUED)
        # The field of each column, and of each member of the record before it is flattened: an
        # object has a name there, even if it has no column.
        self._names: dict[str, Path] = dict.fromkeys(taken, ())
        self._members: dict[str, Path] = dict.fromkeys(taken, ())
        self._settled: set[Path] = set()
        self.columns: Columns = {}
        for columns in known:
            self.columns = merged(self.columns, self._admit(columns))

    def new_columns(self, misfits: Iterable[Misfit]) -> Columns:
        """Create columns for fields that have none yet.

        A field without a type, such as one that is always null, has to wait.

        Args:
            misfits: The values that do not fit the columns.
        """
        samples: dict[Path, list[bytes]] = {}
        for path, raw, is_unknown, name in misfits:
            if is_unknown and name is None and path[-1] and not self.is_settled(path):
                samples.setdefault(path, []).append(raw)
        found: Columns = {}
        for path, values in samples.items():
            if self._is_closed:
                break
            levels = self._layout.levels - len(path) + 1
            if column := infer_column(values, levels, formats=False):
                self._settled.add(path)
                admitted = self._admit({path[-1]: column}, path[:-1])
                found = merged(found, _below(path[:-1], admitted))
        if found:
            self.columns = merged(self.columns, found)
        return found

    def is_settled(self, path: Path) -> bool:
        """Whether a field without a column will not get one in this run."""
        return self._is_closed or path in self._settled

    def names(self, columns: Columns) -> list[str]:
        """Return the names of columns in the record, for the log."""
        return [shown(self._layout.column_name(path)) for path in paths(columns)]

    @property
    def _is_closed(self) -> bool:
        return self._is_full or len(self._settled) >= MAX_SETTLED

    @property
    def _is_full(self) -> bool:
        return len(self._names) >= MAX_COLUMNS + len(MESSAGE_FIELDS) + 1

    def _admit(self, columns: Columns, parents: Path = ()) -> Columns:
        """Return the columns below ``parents`` whose names do not belong to other fields."""
        admitted: Columns = {}
        # A field's own name takes precedence over another field's name with a prefix.
        for name in sorted(columns, key=lambda name: not parents and name in MESSAGE_FIELDS):
            path = (*parents, name)
            column = columns[name]
            # The SDK does not flatten an object that has the name of a column.
            if not self._claim(path):
                continue
            if not column.fields:
                admitted[name] = column
            elif fields := self._admit(column.fields, path):
                admitted[name] = Column(column.types, fields=fields, notes=column.notes)
        return {name: admitted[name] for name in columns if name in admitted}

    def _claim(self, path: Path) -> bool:
        if self._layout.unpacked:
            member = self._layout.record_path(path)[0]
            if self._members.setdefault(member, path[:1]) != path[:1]:
                return False
        name = self._layout.column_name(path)
        if self._is_full or not _is_loadable(name):
            return False
        return self._names.setdefault(name, path) == path


def _is_loadable(name: str) -> bool:
    """Whether loaders can add a column with this name.

    target-postgres escapes a percent sign in the name of a column that it adds, and loaders based
    on the SDK overwrite columns with the prefix `_sdc_`.
    """
    return len(name.encode()) <= MAX_NAME_BYTES and "%" not in name and not name.startswith("_sdc_")


def _below(parents: Path, columns: Columns) -> Columns:
    for name in reversed(parents):
        columns = {name: Column(("object",), fields=columns)} if columns else {}
    return columns


# More levels of objects than any bookmark has.
MAX_LEVELS = 100


def from_bookmark(value: object, levels: int) -> Columns:
    """Read the columns in a bookmark.

    Raises:
        ValueError: They do not have the form in which the tap writes them.
    """
    if value is None:
        return {}
    schema = {"properties": value}
    if schemas(from_schema(schema, MAX_LEVELS)) != value:
        raise ValueError("columns must be an object with a JSON Schema per field name")
    return from_schema(schema, levels)


@dataclass(frozen=True)
class CatalogColumns:
    """The columns in a catalog, whichever record format it was made for.

    Args:
        columns: The columns of the payload.
        deselected: The paths in the record that are deselected.
    """

    columns: Columns
    deselected: Collection[Path]

    @classmethod
    def of(
        cls, schema: Mapping[str, Any], mask: Mapping[Path, bool], layout: Layout
    ) -> CatalogColumns:
        """Read the catalog of a stream.

        Args:
            schema: The schema of the record in the catalog.
            mask: Whether the catalog selects a breadcrumb.
            layout: The format of the record.
        """
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        paths = {crumb[1::2] for crumb, is_selected in mask.items() if crumb and not is_selected}
        fixed = {*MESSAGE_FIELDS, RESCUED}
        # Only nested records have no rescued data and, if they are flattened, no other fields.
        if RESCUED not in properties if layout.unpacked else properties.keys() <= {*fixed, PAYLOAD}:
            payload = properties.get(PAYLOAD)
            columns = from_schema(payload if isinstance(payload, dict) else {}, layout.levels)
            if layout.unpacked:
                paths = {p[1:] if p[0] == PAYLOAD and len(p) > 1 else p for p in paths}
            return cls(columns, paths)
        fields = {name: about for name, about in properties.items() if name not in fixed}
        columns = from_schema({"properties": fields}, layout.levels)
        if not layout.unpacked:
            paths = {path if path[0] in fixed else (PAYLOAD, *path) for path in paths}
        return cls({_field(name, each.notes): each for name, each in columns.items()}, paths)

    def deselects(self, path: Path) -> bool:
        """Whether a path in the record, or an object that it is in, is deselected."""
        return any(path[:depth] in self.deselected for depth in range(1, len(path) + 1))


def combined(
    declared: Columns | None, bookmarked: Columns, catalog: Columns, mode: str, layout: Layout
) -> Columns:
    """Combine the known columns in order of precedence.

    Args:
        declared: The columns of a declared schema; None without one.
        bookmarked: The columns that the last run emitted. A column keeps its first type.
        catalog: The columns of the catalog, or of a sample.
        mode: The setting `schema_evolution`.
        layout: The format of the record.
    """
    if declared is None:
        return ColumnRegistry(layout, bookmarked, catalog).columns
    return ColumnRegistry(layout, declared, bookmarked if mode == ADD_COLUMNS else {}).columns


def key_path(columns: Columns, name: str, layout: Layout) -> Path | None:
    """Return the path of the field whose column is a key property, if there is one."""
    return next((path for path in paths(columns) if layout.column_name(path) == name), None)


def _field(column: str, notes: Mapping[str, str]) -> str:
    """Return the field of the payload that a column belongs to."""
    field = column.removeprefix(PREFIX)
    if column != field and field in MESSAGE_FIELDS and notes == prefixed_notes(field):
        return field
    return column
