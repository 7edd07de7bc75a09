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
    may_hold_nul,
)
from .rescued import pointer

if TYPE_CHECKING:
    from collections.abc import Collection

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


class Fitting:
    """Detects payloads whose own text can be the text of the record.

    It accepts fewer payloads than the columns do, never more: whatever it rejects has to be looked
    at field by field.

    Args:
        columns: The columns of the payload; none of them is flattened.
        nulls: Fields without a column that have been null so far. They are cut out.
        required: Fields that must be there and not be null.
    """

    def __init__(
        self, columns: Columns, nulls: Collection[str] = (), required: Collection[str] = ()
    ) -> None:
        fields: list[Any] = []
        names: dict[str, str] = {}
        # The attribute of each field that is null, its text, and that of its rescued value.
        self._nulls: list[tuple[str, bytes, bytes]] = []
        for number, name in enumerate([*columns, *nulls]):
            column = columns.get(name)
            attribute = f"field_{number}"
            if not _can_be_named(name) or (column and {OBJECT, ARRAY} <= set(column.types)):
                continue
            names[attribute] = name
            if column is None:
                fields.append((attribute, None, msgspec.UNSET))
                text = msgspec.json.encode(name) + b":null"
                rescued = msgspec.json.encode(pointer((name,))) + b":null"
                self._nulls.append((attribute, text, rescued))
            elif name in required:
                fields.append((attribute, _type(column)))
            else:
                fields.append((attribute, _type(column) | None, None))
        struct = msgspec.defstruct(
            "Payload", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
        )
        self._decode = msgspec.json.Decoder(struct).decode

    def members(self, payload: bytes) -> tuple[bytes, bytes] | None:
        """The text of the record's columns and of its rescued nulls.

        Returns:
            None if the payload has to be looked at field by field, as an empty one has.
        """
        if may_hold_nul(payload):
            return None
        try:
            fields = self._decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return None
        text = payload.strip()[1:-1].strip()
        if not self._nulls:
            return (text, b"") if text else None
        rescued = []
        for attribute, member, value in self._nulls:
            if getattr(fields, attribute) is None:
                cut = _cut(text, member)
                if cut is None:
                    return None
                text = cut
                rescued.append(value)
        return (text, b",".join(rescued)) if text else None


def _cut(text: bytes, member: bytes) -> bytes | None:
    """Cut a member out of the text of an object that is known to have it.

    Inside of a string, a quotation mark is escaped, so only an inner object can have the same text.
    """
    before, found, after = text.partition(member)
    if not found or member in after:
        return None
    if after.startswith(b","):
        return before + after[1:]
    return before[:-1] + after if before.endswith(b",") and not after else None


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
