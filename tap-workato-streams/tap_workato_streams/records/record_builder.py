"""Builds records that conform to their SCHEMA from the payloads of a page."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache, partial
from operator import attrgetter
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec

from ..plugin.json import members
from .columns import MESSAGE_FIELDS, PAYLOAD, RESCUED
from .evolution import (
    ADD_COLUMNS,
    FAIL,
    NULL,
    ColumnRegistry,
    Misfit,
    MisfitCounts,
    key_problem,
    rescued_object,
    schema_problem,
)
from .json_values import (
    ARRAY,
    BOOLEAN,
    FORMAT_PATTERNS,
    INTEGER,
    MAX_DIGITS,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence

    from .columns import Column, Columns, Layout, Path
    from .evolution import Evolution

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


# Limits the number of remembered fields, since payloads may have ids as field names.
MAX_CUT_FIELDS = 100

_RESCUED_KEY = b'"%b":' % RESCUED.encode()


class ShapedPage(NamedTuple):
    """The records of a page.

    Args:
        bodies: The JSON text of each record's members after `time`; it may be empty.
        added: The names of new columns; if there are any, the SCHEMA has changed.
        problem: The reason why the message after these records cannot be written.
    """

    bodies: list[bytes]
    added: list[str]
    problem: str | None = None


class Shaper:
    """Converts the payloads of one topic, and keeps track of their columns.

    Args:
        layout: The format of the record.
        columns: The columns that are known at the start of the run.
        evolution: The handling of data that does not fit.
    """

    def __init__(self, layout: Layout, columns: Columns, evolution: Evolution) -> None:
        self._layout = layout
        self._evolution = evolution
        self._registry = ColumnRegistry(layout, columns)
        self._cut: set[str] = set()
        self.misfits = MisfitCounts()
        self._use(self._registry.columns)

    @property
    def next_columns(self) -> Columns:
        """The columns with which the next run starts."""
        return self._registry.columns

    @property
    def drops(self) -> bool:
        """Whether values that do not fit their columns are dropped."""
        return self._evolution.drops

    def shape(self, payloads: Sequence[bytes]) -> ShapedPage:
        """Convert the payloads of a page.

        Args:
            payloads: The JSON text of each.
        """
        shaped = [self._fitted(payload) or self._take_apart(payload) for payload in payloads]
        added = self._add_columns(shaped)
        self._expect_misfits(shaped)
        bodies: list[bytes] = []
        for payload, fitting_or_parts in zip(payloads, shaped, strict=True):
            if isinstance(fitting_or_parts, bytes):
                bodies.append(fitting_or_parts)
                continue
            parts = self._take_apart(payload) if added else fitting_or_parts
            if problem := self._problem(parts):
                return ShapedPage(bodies, added, problem)
            bodies.append(self._body(parts))
        return ShapedPage(bodies, added)

    def _use(self, columns: Columns) -> None:
        self.columns = columns
        self.schema = self._layout.record_schema(columns)
        self._slots = slots(columns, self._layout, self._evolution.deselected)
        self._cut -= columns.keys()
        self._prepare_fitting()

    def _prepare_fitting(self) -> None:
        self._fitting = None
        required = self._evolution.required
        # A payload can only be used unchanged if every field keeps its name and position.
        if self._layout.unpacked and not self._layout.levels and not self._evolution.deselected:
            kept = {k: each for k, each in self.columns.items() if k not in MESSAGE_FIELDS}
            if kept.keys() >= set(required):
                self._fitting = Fitting(kept, self._slots, self._cut, required)

    def _fitted(self, payload: bytes) -> bytes | Parts | None:
        """Return the body of a record whose payload fits, possibly without a few fields."""
        fitted = self._fitting.fitted(payload) if self._fitting else None
        if fitted is None:
            return None
        text, misfits = fitted
        if not misfits:
            return text
        values = [misfit for misfit in misfits if misfit.raw != NULL]
        if not values:
            # Null fails nothing and is not counted.
            nulls = _rescued_nulls(tuple([misfit.path for misfit in misfits]))
            return text if self._evolution.drops else text + nulls
        if any(self._may_become_column(misfit) for misfit in values):
            return None
        return Parts([text], misfits, has_keys=True)

    def _may_become_column(self, misfit: Misfit) -> bool:
        is_open = self._evolution.mode == ADD_COLUMNS and not self._registry.is_settled(misfit.path)
        return misfit.is_unknown and is_open

    def _expect_misfits(self, shaped: Sequence[bytes | Parts]) -> None:
        """Remember the fields that did not fit, since they usually do not fit again."""
        if not self._fitting or len(self._cut) >= MAX_CUT_FIELDS:
            return
        counts = Counter(
            misfit.path[0]
            for parts in shaped
            if isinstance(parts, Parts) and not parts.has_keys
            for misfit in parts.misfits
            if len(misfit.path) == 1 and misfit.name is None
        )
        others = {*MESSAGE_FIELDS, RESCUED, *self._evolution.required, *self._cut}
        found = [name for name, _ in counts.most_common() if name not in others]
        if found:
            self._cut.update(found[: MAX_CUT_FIELDS - len(self._cut)])
            self._prepare_fitting()

    def _take_apart(self, payload: bytes) -> Parts:
        deselected = self._evolution.deselected
        if not self._layout.unpacked and (PAYLOAD,) in deselected:
            return Parts()
        parts = take_apart(payload, self._slots)
        if deselected:
            parts.misfits = [each for each in map(self._selected, parts.misfits) if each]
        return parts

    def _selected(self, misfit: Misfit) -> Misfit | None:
        """Return a misfit without deselected fields; None if it is deselected itself."""
        path, deselected = self._layout.record_path(misfit.path), self._evolution.deselected
        if path in deselected or (misfit.is_unknown and not self._evolution.rescues):
            return None
        below = [each[len(path) :] for each in deselected if each[: len(path)] == path]
        return misfit._replace(raw=without_fields(misfit.raw, below))

    def _add_columns(self, shaped: Sequence[bytes | Parts]) -> list[str]:
        if self._evolution.mode != ADD_COLUMNS:
            return []
        found = self._registry.new_columns(
            misfit for parts in shaped if isinstance(parts, Parts) for misfit in parts.misfits
        )
        if not found or self._evolution.is_deferred:
            return []
        self._use(self._registry.columns)
        return self._registry.names(found)

    def _problem(self, parts: Parts) -> str | None:
        if self._evolution.mode == FAIL:
            for misfit in parts.misfits:
                if misfit.raw != NULL:
                    return schema_problem(misfit)
        for name in () if parts.has_keys else self._evolution.required:
            key = self._slots[name].key if name in self._slots else b":"
            if not any(each.startswith(key) and each != key + NULL for each in parts.columns):
                is_misfit = any(misfit.path == (name,) for misfit in parts.misfits)
                return key_problem(name, is_misfit=is_misfit)
        return None

    def _body(self, parts: Parts) -> bytes:
        members = b",".join(parts.columns)
        if not self._layout.unpacked and (PAYLOAD,) not in self._evolution.deselected:
            members = b'"%b":{%b}' % (PAYLOAD.encode(), members)
        self.misfits.add(parts.misfits)
        if not parts.misfits or self._evolution.drops:
            return members
        values = _RESCUED_KEY + rescued_object(parts.misfits)
        return b"%b,%b" % (members, values) if members else values


# Cached, because usually the same fields are null.
@lru_cache(maxsize=1000)
def _rescued_nulls(paths: tuple[Path, ...]) -> bytes:
    misfits = [Misfit(path, NULL, is_unknown=True) for path in paths]
    return b"," + _RESCUED_KEY + rescued_object(misfits)
