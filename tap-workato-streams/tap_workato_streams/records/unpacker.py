"""Splits a payload into values that fit its columns, and values that do not."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ..plugin.json_scanner import members
from .json_values import (
    ARRAY,
    BOOLEAN,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
    has_format,
    is_double,
    is_integer,
    is_storable,
    is_storable_name,
    may_hold_nul,
)
from .misfits import Misfit

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator, Mapping, Sequence

    from .columns import Column, Columns, Path
    from .layout import Layout

_NUMBERS = b"-0123456789"
_FIRST_BYTES = {STRING: b'"', BOOLEAN: b"tf", OBJECT: b"{", ARRAY: b"["}

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Slot:
    """A column, prepared for checking values.

    Args:
        key: The column's name in the record as the JSON text before its value.
        checks: The checks of a value by its first byte; other first bytes do not fit.
        fields: The columns below it, if it is flattened.
        selected: Whether the catalog selects it.
    """

    key: bytes
    checks: Mapping[int, Callable[[bytes], bool] | None]
    fields: Mapping[str, Slot] | None
    selected: bool

    def fits(self, raw: bytes) -> bool:
        """Whether a storable value fits the column."""
        try:
            check = self.checks[raw[0]]
        except KeyError:
            return False
        return check is None or check(raw)


def slots(
    columns: Columns, layout: Layout, deselected: Container[Path], parents: Path = ()
) -> dict[str, Slot]:
    """Prepare columns.

    Args:
        columns: The columns, by the name of the field below ``parents``.
        layout: The format of the record.
        deselected: The paths in the record that the catalog deselects.
        parents: The objects that the fields belong to.
    """
    prepared = {}
    for name, column in columns.items():
        path = (*parents, name)
        record_path = layout.record_path(path)
        prepared[name] = Slot(
            key=msgspec.json.encode(record_path[-1]) + b":",
            checks=_checks(column),
            fields=slots(column.fields, layout, deselected, path) if column.fields else None,
            selected=record_path not in deselected,
        )
    return prepared


def _checks(column: Column) -> dict[int, Callable[[bytes], bool] | None]:
    checks: dict[int, Callable[[bytes], bool] | None] = {ord("n"): None}
    for kind in column.types:
        if kind in {INTEGER, NUMBER}:
            checks |= dict.fromkeys(_NUMBERS, is_integer if kind == INTEGER else is_double)
        elif kind == STRING and column.format:
            checks[ord('"')] = partial(has_format, name=column.format)
        else:
            checks |= dict.fromkeys(_FIRST_BYTES[kind])
    return checks


@dataclass(slots=True)
class Parts:
    """A payload that was split: the columns of its record as JSON text, and the misfits.

    ``has_keys`` is set if the key properties have been checked.
    """

    columns: list[bytes] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    has_keys: bool = False


def take_apart(payload: bytes, slots: Mapping[str, Slot]) -> Parts:
    """Split a payload into the columns of the record and the misfits."""
    parts = Parts()
    try:
        fields, is_suspect = _fields(payload)
    except ValueError:
        parts.misfits.append(Misfit((), payload, is_unknown=False))
        return parts
    parts.columns.extend(_place(fields, slots, (), parts.misfits, is_suspect=is_suspect))
    return parts


def _fields(text: bytes) -> tuple[dict[str, bytes], bool]:
    """Return the fields of an object, and whether it may contain values that cannot be stored."""
    try:
        return {name: bytes(raw) for name, raw in _split(text).items()}, may_hold_nul(text)
    except (msgspec.DecodeError, RecursionError):
        return members(text), True


def _place(
    fields: Mapping[str, bytes],
    slots: Mapping[str, Slot],
    parents: Path,
    misfits: list[Misfit],
    *,
    is_suspect: bool,
) -> Iterator[bytes]:
    for name, raw in fields.items():
        slot = slots.get(name)
        if slot is None:
            if is_suspect and not is_storable_name(name):
                misfits.append(Misfit(parents, raw, is_unknown=True, name=name))
            else:
                misfits.append(Misfit((*parents, name), raw, is_unknown=True))
        elif not slot.selected:
            continue
        elif slot.fields is not None:
            # An object without fields would be missing from the flattened record.
            if raw.startswith(b"{") and (inner := _fields(raw)[0]):
                path = (*parents, name)
                parts = _place(inner, slot.fields, path, misfits, is_suspect=is_suspect)
                yield b"%b{%b}" % (slot.key, b",".join(parts))
            else:
                misfits.append(Misfit((*parents, name), raw, is_unknown=False))
        elif slot.fits(raw) and not (is_suspect and not is_storable(raw)):
            yield slot.key + raw
        else:
            misfits.append(Misfit((*parents, name), raw, is_unknown=False))


def without_fields(raw: bytes, paths: Sequence[Path]) -> bytes:
    """Return an object without the fields at these paths; other values are unchanged."""
    if not paths:
        return raw
    try:
        fields = members(raw)
    except ValueError:
        return raw
    kept = []
    for name, value in fields.items():
        below = [path[1:] for path in paths if path[0] == name]
        if () not in below:
            kept.append(b"%b:%b" % (json.dumps(name).encode(), without_fields(value, below)))
    return b"{%b}" % b",".join(kept)
