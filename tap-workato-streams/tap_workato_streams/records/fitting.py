"""Detecting a payload that fits its columns, in one pass and without building its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from .json_values import (
    ARRAY,
    BOOLEAN,
    FORMAT_PATTERNS,
    INTEGER,
    NUMBER,
    OBJECT,
    STRING,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from .columns import Column, Columns


class _Object(msgspec.Struct, gc=False):
    """Any object: unknown fields are skipped."""


class _Array(msgspec.Struct, array_like=True, gc=False):
    """Any array: further elements are skipped."""


# msgspec takes 1.0 for no integer, 1 for a float, and rejects a float that is out of range.
_TYPES: dict[str, Any] = {
    STRING: str,
    INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    NUMBER: float,
    BOOLEAN: bool,
    OBJECT: _Object,
    ARRAY: _Array,
}


def fitting_decoder(
    columns: Columns, required: Collection[str] = ()
) -> Callable[[bytes], object] | None:
    """Make a decoder that accepts a payload only if it fits the columns.

    It accepts fewer payloads than the columns do, never more: whatever it rejects has to be
    looked at field by field.

    Args:
        columns: The columns of the payload.
        required: Fields that must be there and not be null.

    Returns:
        The decoder, which raises ``msgspec.DecodeError`` or RecursionError; None if columns are
        flattened.
    """
    if any(column.fields for column in columns.values()):
        return None
    fields: list[Any] = []
    names: dict[str, str] = {}
    for number, (name, column) in enumerate(columns.items()):
        if {OBJECT, ARRAY} <= set(column.types) or not _can_be_named(name):
            continue
        attribute = f"field_{number}"
        names[attribute] = name
        if name in required:
            fields.append((attribute, _type(column)))
        else:
            fields.append((attribute, _type(column) | None, None))
    struct = msgspec.defstruct(
        "Payload", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
    )
    return msgspec.json.Decoder(struct).decode


def _type(column: Column) -> Any:  # noqa: ANN401 - a type expression
    types = [_TYPES[each] for each in column.types]
    if column.format:
        pattern = msgspec.Meta(pattern=FORMAT_PATTERNS[column.format])
        types = [Annotated[str, pattern] if each is str else each for each in types]
    union = types[0]
    for each in types[1:]:
        union |= each
    return union


def _can_be_named(name: str) -> bool:
    """Whether msgspec can match a field's name."""
    return not any(char in '"\\' or char < " " for char in name)
