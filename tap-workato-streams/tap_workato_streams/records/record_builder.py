"""Puts each value of a payload into its column or into `_rescued`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import msgspec

from ..event_streams.json import members
from .columns import PAYLOAD, RESCUED, Column, Columns, Path
from .evolution import (
    FAIL,
    ColumnRegistry,
    Evolution,
    FieldCounts,
    RescuedValue,
    key_path,
    rescued_object,
    schema_problem,
)
from .json_values import (
    BOOLEAN,
    FIRST_BYTES,
    INTEGER,
    LOADABLE_FORMATS,
    NULL,
    NUMBER,
    STRING,
    is_double,
    is_integer,
    is_storable,
    is_storable_name,
    matches,
    may_hold_nul,
)

Check = Callable[[bytes], bool]


SCALAR_FIRST_BYTES = FIRST_BYTES[BOOLEAN] + FIRST_BYTES[NUMBER]

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Field:
    """A field that has a column, prepared for building records."""

    key: bytes  # the JSON text before the value
    checks: Mapping[int, Check | None]  # by the value's first byte; others do not fit
    as_text: bytes  # the first bytes of other values that a text column takes as JSON text
    fields: Mapping[str, Field] | None  # of an object that is flattened
    selected: bool

    @classmethod
    def of(cls, path: Path, column: Column, evolution: Evolution) -> Field:
        """Prepare the field of a column."""
        fields = {
            name: cls.of((*path, name), each, evolution)
            for name, each in (column.fields or {}).items()
        }
        by_type: dict[str, Check] = {INTEGER: is_integer, NUMBER: is_double}
        if column.format:
            by_type[STRING] = partial(matches, pattern=LOADABLE_FORMATS[column.format])
        types = (*column.types, NULL)
        checks = {byte: by_type.get(each) for each in types for byte in FIRST_BYTES[each]}
        is_text = column.types == (STRING,) and not column.format and evolution.mode != FAIL
        as_text = SCALAR_FIRST_BYTES if is_text else b""
        key = msgspec.json.encode(evolution.layout.record_path(path)[-1]) + b":"
        return cls(key, checks, as_text, fields or None, not evolution.deselects(path))


class BuiltPage(NamedTuple):
    """The records of a page."""

    bodies: list[bytes]  # the JSON text of each record's members after `time`, which may be empty
    rescued: list[Sequence[RescuedValue]]  # the values of each record that are not in a column
    problem: str | None = None  # why the message after these records cannot be written


class RecordBuilder:
    """Builds the records of one topic, and keeps track of their columns."""

    def __init__(self, columns: Columns, evolution: Evolution) -> None:
        self.evolution = evolution
        self._layout = evolution.layout
        self._registry = ColumnRegistry(evolution, columns)
        self.unfitting = FieldCounts()  # values that do not fit their column
        self.without_column = FieldCounts()
        self.unmapped = FieldCounts()  # unfitting, and not rescued because of a stream map
        self.left_out = 0  # messages without a record, and with a key that does not fit its column
        self._use(self._registry.columns)

    @property
    def next_columns(self) -> Columns:
        """The columns with which the next run starts."""
        return self._registry.columns

    @property
    def has_keys(self) -> bool:
        """Whether each key property has a column; until then, there can be no SCHEMA."""
        return all(self._key_paths.values())

    def build(self, payloads: Sequence[bytes]) -> BuiltPage:
        """Build the records of a page from the JSON text of its payloads; this may add columns."""
        is_open = not (self.evolution.is_deferred and self.has_keys)
        page = BuiltPage([], [])
        for payload in payloads:
            parts, rescued = self._place(payload)
            has_values = any(value.raw != b"null" for value in rescued)
            if has_values and self._add_columns(rescued) and is_open:
                self._use(self._registry.columns)
                parts, rescued = self._place(payload)
            if rescued and self.evolution.excludes:
                rescued = [kept for value in rescued if (kept := self._kept(value))]
            if self.evolution.mode == FAIL and (values := [v for v in rescued if not v.is_null]):
                return page._replace(problem=schema_problem(values[0]))
            page.bodies.append(self._body(parts, rescued))
            page.rescued.append(rescued)
        return page

    def count(self, rescued: Sequence[RescuedValue], *, is_left_out: bool = False) -> None:
        """Count the values of a record that is written, or of a message that a filter left out."""
        if is_left_out:
            self.left_out += any(self.has_value(key, rescued) for key in self.evolution.keys)
            return
        for value in rescued:
            (self.unfitting if value.has_column else self.without_column).add(value)

    def has_value(self, key: str, rescued: Sequence[RescuedValue]) -> bool:
        """Whether there is a value for a key property that does not fit its column."""
        name = self._layout.column_name
        return any(name(value.path) == key and not value.is_null for value in rescued)

    def _use(self, columns: Columns) -> None:
        self.columns = columns
        self.schema = self._layout.record_schema(columns)  # before flattening
        self._fields = {
            name: Field.of((name,), column, self.evolution) for name, column in columns.items()
        }
        keys = self.evolution.keys
        self._key_paths = {key: key_path(columns, key, self._layout) for key in keys}

    def _add_columns(self, rescued: Sequence[RescuedValue]) -> bool:
        """Create columns for new fields; those of a key in any case, or no record could be read."""
        evolution = self.evolution
        keys = [key for key, path in self._key_paths.items() if path is None]
        if not evolution.adds_columns and not keys:
            return False
        return self._registry.add(
            value
            for value in rescued
            if any(self._layout.contains(value.path, key) for key in keys)
            or (evolution.adds_columns and not evolution.deselects(value.path))
        )

    def _place(self, payload: bytes) -> tuple[list[bytes], list[RescuedValue]]:
        """Return the members of the record, and the values that are not in a column."""
        parts: list[bytes] = []
        values: list[RescuedValue] = []
        try:
            self._place_object(payload, self._fields, (), parts, values)
        except ValueError:
            parts, values = [], [RescuedValue((), payload, has_column=True)]
        return parts, values

    def _place_object(
        self,
        text: bytes,
        fields: Mapping[str, Field],
        parents: Path,
        parts: list[bytes],
        values: list[RescuedValue],
    ) -> None:
        found: Mapping[str, msgspec.Raw | bytes]
        try:
            found, is_storable_text = _split(text), not may_hold_nul(text)
        except (msgspec.DecodeError, RecursionError):
            found, is_storable_text = members(text), False
        for name, value in found.items():
            raw = bytes(value)
            field = fields.get(name)
            if field is None:
                if is_storable_text or is_storable_name(name):
                    values.append(RescuedValue((*parents, name), raw, has_column=False))
                else:
                    values.append(RescuedValue(parents, raw, has_column=False, name=name))
                continue
            if not field.selected:
                continue
            if field.fields is None:
                check = field.checks.get(raw[0], _never)
                if (check is None or check(raw)) and (is_storable_text or is_storable(raw)):
                    parts.append(field.key + raw)
                    continue
                if raw[0] in field.as_text:
                    parts.append(b'%b"%b"' % (field.key, raw))
                    continue
            # An object without fields would be missing from the flattened record.
            elif raw.startswith(b"{") and raw[1:-1].strip():
                inner: list[bytes] = []
                self._place_object(raw, field.fields, (*parents, name), inner, values)
                parts.append(b"%b{%b}" % (field.key, b",".join(inner)))
                continue
            values.append(RescuedValue((*parents, name), raw, has_column=True))

    def _kept(self, value: RescuedValue) -> RescuedValue | None:
        """Return a value without what must not be rescued; None if nothing is left."""
        evolution = self.evolution
        if evolution.deselects(value.path) or not (value.has_column or evolution.rescues):
            return None
        if evolution.is_mapped(value.path):
            if value.has_column:
                self.unmapped.add(value)
            return None
        return value._replace(raw=self._without_excluded(value.raw, value.path))

    def _without_excluded(self, raw: bytes, path: Path) -> bytes:
        if not raw.startswith(b"{"):
            return raw
        fields = members(raw)
        kept = {
            name: self._without_excluded(value, (*path, name))
            for name, value in fields.items()
            if not self.evolution.deselects((*path, name))
            and not self.evolution.is_mapped((*path, name))
        }
        if kept == fields:
            return raw
        return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(k).encode(), v) for k, v in kept.items())

    def _body(self, parts: Sequence[bytes], rescued: Sequence[RescuedValue]) -> bytes:
        body = b",".join(parts)
        if not self._layout.unpacked and (PAYLOAD,) not in self.evolution.deselected:
            body = b'"%b":{%b}' % (PAYLOAD.encode(), body)
        if not rescued or self.evolution.drops:
            return body
        values = b'"%b":%b' % (RESCUED.encode(), rescued_object(rescued))
        return b"%b,%b" % (body, values) if body else values


def _never(_: bytes) -> bool:
    return False
