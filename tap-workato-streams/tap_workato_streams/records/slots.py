"""The columns of a payload, prepared for splitting payloads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from .json_values import ARRAY, BOOLEAN, INTEGER, NUMBER, OBJECT, STRING, has_format, is_double
from .json_values import is_integer as is_int64

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping

    from .columns import Column, Columns, Path
    from .layout import Layout

Check = "Callable[[bytes], bool] | None"

_NUMBERS = b"-0123456789"
_FIRST_BYTES = {STRING: b'"', BOOLEAN: b"tf", OBJECT: b"{", ARRAY: b"["}


@dataclass(frozen=True, slots=True)
class Slot:
    """A column in the record.

    Args:
        key: The column's name as the JSON text before its value.
        checks: The checks of a value by its first byte; other first bytes do not fit.
        fields: The columns below it, if it is flattened.
        selected: Whether the catalog selects it.
    """

    key: bytes
    checks: Mapping[int, Callable[[bytes], bool] | None]
    fields: Mapping[str, Slot] | None
    selected: bool


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
            checks |= dict.fromkeys(_NUMBERS, is_int64 if kind == INTEGER else is_double)
        elif kind == STRING and column.format:
            checks[ord('"')] = partial(has_format, name=column.format)
        else:
            checks |= dict.fromkeys(_FIRST_BYTES[kind])
    return checks
