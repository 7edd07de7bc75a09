"""Splits a payload into values that fit its columns, and values that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..plugin.json_scanner import members
from .json_values import is_storable, is_storable_name, may_hold_nul

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .columns import Path
    from .slots import Slot

NULL = b"null"

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Misfit(NamedTuple):
    """A value that does not fit the columns.

    ``name`` is only set for a field whose name no database can store; ``path`` is then the path of
    its object.
    """

    path: Path
    raw: bytes
    is_unknown: bool
    name: str | None = None


@dataclass(slots=True)
class Parts:
    """A payload that was split: the columns of its record as JSON text, and the misfits.

    ``has_keys`` is set if the key properties have been checked.
    """

    columns: list[bytes] = field(default_factory=list)
    misfits: list[Misfit] = field(default_factory=list)
    has_keys: bool = False


def take_apart(payload: bytes, slots: Mapping[str, Slot]) -> Parts:
    """Split a payload.

    Args:
        payload: The JSON text of the payload.
        slots: The columns of the record.
    """
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
        elif fits(raw, slot) and not (is_suspect and not is_storable(raw)):
            yield slot.key + raw
        else:
            misfits.append(Misfit((*parents, name), raw, is_unknown=False))


def fits(raw: bytes, slot: Slot) -> bool:
    """Whether a storable value fits a column."""
    try:
        check = slot.checks[raw[0]]
    except KeyError:
        return False
    return check is None or check(raw)
