"""Detects payloads that fit their columns, in one pass and without decoding their values."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from .json_values import (
    ARRAY,
    BOOLEAN,
    FORMAT_PATTERNS,
    INTEGER,
    MAX_DIGITS,
    NUMBER,
    OBJECT,
    STRING,
)
from .misfits import NULL, Misfit

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .columns import Column, Columns, Path
    from .unpacker import Slot


class _Object(msgspec.Struct, gc=False):
    """Any object: unknown fields are skipped."""


class _Array(msgspec.Struct, array_like=True, gc=False):
    """Any array: further elements are skipped."""


# For msgspec, 1.0 is not an integer, 1 is a valid float, and out-of-range floats are invalid.
_TYPES: dict[str, Any] = {
    STRING: str,
    INTEGER: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    NUMBER: float,
    BOOLEAN: bool,
    OBJECT: _Object,
    ARRAY: _Array,
}


class Fitting:
    """Detects payloads whose text can be used as the text of the record.

    It accepts fewer payloads than the columns do, but never more. Rejected payloads have to be
    checked field by field.

    Args:
        columns: The columns of the payload; none of them is flattened.
        slots: The same columns, prepared for checking single values.
        cut: Fields that did not fit before; if they do not fit again, they are cut out.
        required: Fields that must exist and must not be null.
    """

    def __init__(
        self,
        columns: Columns,
        slots: Mapping[str, Slot],
        cut: Collection[str] = (),
        required: Collection[str] = (),
    ) -> None:
        fields: list[Any] = []
        names: dict[str, str] = {}
        numbers: list[str] = []
        # The attribute, path, name as text, slot, and null value of each field that may be cut out.
        self._cut: list[tuple[str, Path, bytes, Slot | None, Misfit]] = []
        for number, name in enumerate(dict.fromkeys([*columns, *cut])):
            column = columns.get(name)
            attribute = f"field_{number}"
            if not _can_be_named(name) or (column and {OBJECT, ARRAY} <= set(column.types)):
                continue
            names[attribute] = name
            if column and NUMBER in column.types and name not in cut:
                numbers.append(attribute)
            if column and name in required:
                fields.append((attribute, _type(column)))
            elif column and name not in cut:
                fields.append((attribute, _type(column) | None, None))
            else:
                fields.append((attribute, msgspec.Raw, msgspec.UNSET))
                slot, text = slots.get(name), msgspec.json.encode(name)
                null = Misfit((name,), NULL, slot is None)
                self._cut.append((attribute, (name,), text, slot, null))
        struct = msgspec.defstruct(
            "Payload", fields, rename=names, forbid_unknown_fields=True, kw_only=True, gc=False
        )
        self._decode = msgspec.json.Decoder(struct).decode
        # With a single name, attrgetter would not return a tuple.
        self._numbers = attrgetter(*numbers, *numbers) if numbers else None

    def fitted(self, payload: bytes) -> tuple[bytes, list[Misfit]] | None:
        """Return the text of the record's columns, and the misfits that had to be cut out.

        None if the payload has to be checked field by field, or is empty.
        """
        if b"\\" in payload and (
            b"\\u0000" in payload or (self._cut and (b"\\u" in payload or b"\\/" in payload))
        ):
            return None
        try:
            fields = self._decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return None
        # What comes before the brace can only be white space.
        if payload[0] != _BRACE or self._may_hold_extreme_number(payload, fields):
            return None
        text = payload[1:-1]
        misfits: list[Misfit] = []
        for attribute, path, key, slot, null in self._cut:
            raw = getattr(fields, attribute)
            if raw is msgspec.UNSET:
                continue
            raw = bytes(raw)
            if slot is None or not slot.fits(raw):
                rest = _without(text, key, raw)
                if rest is None:
                    return None
                text = rest
                misfits.append(null if raw == NULL else Misfit(path, raw, slot is None))
        if not text or text.isspace():
            return None
        return text, misfits

    def _may_hold_extreme_number(self, payload: bytes, fields: object) -> bool:
        """Whether a number may be too long or too small for its column; msgspec accepts both."""
        # If only every 1,000th byte is kept, at least three of them belong to such a long number.
        if len(payload) > MAX_DIGITS and _LONG_NUMBER.search(payload[:: MAX_DIGITS // 4]):
            return True
        if self._numbers is None or 0 not in self._numbers(fields):
            return False
        # A number that is too small has been rounded to 0.
        return b"0" * 200 in payload or _EXPONENT_MEMBER.search(payload) is not None


_EXPONENT_MEMBER = re.compile(rb":\s*-?[0-9.]+[eE]")
_LONG_NUMBER = re.compile(rb"[0-9.]{3}")
_BRACE = ord("{")


def _without(text: bytes, key: bytes, raw: bytes) -> bytes | None:
    """Cut a member out of the text of an object that contains it.

    If the name is in the text only once, and nothing is escaped, it is not in a nested object.
    """
    start = text.find(key)
    end = start + len(key)
    if start < 0 or text.find(key, end) >= 0:
        return None
    for separator in (b":", b": "):
        if text.startswith(separator + raw, end):
            end += len(separator) + len(raw)
            break
    else:
        return None
    if text.startswith(b",", end):
        return text[:start] + text[end + 1 :]
    before, after = text[:start].rstrip(), text[end:]
    return before[:-1] + after if before.endswith(b",") and not after.strip() else None


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
