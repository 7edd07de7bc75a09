"""Turning the payloads of a page into records that conform to their SCHEMA."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .evolution import ADD_COLUMNS, FAIL, NONE, ColumnRegistry
from .fitting import Fitting
from .layout import MESSAGE_FIELDS, PAYLOAD, RESCUED
from .misfits import MisfitCounts
from .rescued import Rescued, pointer
from .slots import slots
from .unpacker import NULL, Parts, take_apart

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Columns
    from .evolution import Evolution
    from .layout import Layout
    from .unpacker import Misfit


# Payloads with ids as field names may have any number of fields that are null.
MAX_NULL_FIELDS = 100


class ShapedPage(NamedTuple):
    """The records of a page.

    Args:
        bodies: The JSON text of each record's members after `time`; it may be empty.
        added: The names of the columns that the page brought: the SCHEMA has changed.
        problem: Why the message after these records cannot be written.
    """

    bodies: list[bytes]
    added: list[str]
    problem: str | None = None


class Shaper:
    """Shapes the payloads of one topic, and keeps their columns.

    Args:
        layout: The format of the record.
        columns: The columns known at the start of the run.
        evolution: What happens to data that does not fit.
    """

    def __init__(self, layout: Layout, columns: Columns, evolution: Evolution) -> None:
        self._layout = layout
        self._evolution = evolution
        self._registry = ColumnRegistry(layout, columns)
        self._nulls: set[str] = set()
        self.misfits = MisfitCounts()
        self._use(self._registry.columns)

    @property
    def next_columns(self) -> Columns:
        """The columns that the next run starts with."""
        return self._registry.columns

    def shape(self, payloads: Sequence[bytes]) -> ShapedPage:
        """Shape the payloads of a page.

        Args:
            payloads: The JSON text of each.
        """
        shaped = [self._fitting(payload) or self._take_apart(payload) for payload in payloads]
        added = self._add_columns(shaped)
        self._learn_nulls(shaped)
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
        self._slots = slots(columns, self._layout, self._evolution.deselected)
        self._prepare_fitting()

    def _prepare_fitting(self) -> None:
        self._fits = None
        required = self._evolution.required
        # The bytes of a payload are the record's only if every field keeps its name and place.
        if self._layout.unpacked and not self._layout.levels and not self._evolution.deselected:
            kept = {k: each for k, each in self.columns.items() if k not in MESSAGE_FIELDS}
            if kept.keys() >= set(required):
                self._fits = Fitting(kept, self._nulls - self.columns.keys(), required)

    def _fitting(self, payload: bytes) -> bytes | None:
        """The body of a record whose payload fits as it is."""
        members = self._fits.members(payload) if self._fits else None
        if members is None:
            return None
        text, rescued = members
        if not rescued or self._evolution.mode == NONE:
            return text
        return b'%b,"%b":{%b}' % (text, RESCUED.encode(), rescued)

    def _learn_nulls(self, shaped: Sequence[bytes | Parts]) -> None:
        """Expect fields without a column to be null again: most that are null once always are."""
        nulls = {
            path[0]
            for parts in shaped
            if isinstance(parts, Parts)
            for path, raw, is_unknown, name in parts.misfits
            if is_unknown and raw == NULL and name is None and len(path) == 1
        } - {*MESSAGE_FIELDS, RESCUED}
        if self._fits and len(self._nulls) < MAX_NULL_FIELDS and not nulls <= self._nulls:
            self._nulls |= nulls
            self._prepare_fitting()

    def _take_apart(self, payload: bytes) -> Parts:
        deselected = self._evolution.deselected
        if not self._layout.unpacked and (PAYLOAD,) in deselected:
            return Parts()
        parts = take_apart(payload, self._slots)
        if deselected:
            parts.misfits = [each for each in parts.misfits if self._is_selected(each)]
        return parts

    def _is_selected(self, misfit: Misfit) -> bool:
        path = self._layout.record_path(misfit.path)
        return self._evolution.rescues and path not in self._evolution.deselected

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
        for misfit in parts.misfits:
            if self._evolution.mode == FAIL and misfit.raw != NULL:
                reason = "is not in the schema" if misfit.is_unknown else "does not fit the schema"
                return f"{pointer(misfit.path) or 'its payload'} {reason}"
        for name in self._evolution.required:
            key = self._slots[name].key if name in self._slots else b":"
            if not any(each.startswith(key) and each != key + NULL for each in parts.columns):
                return missing_key(name)
        return None

    def _body(self, parts: Parts) -> bytes:
        members = b",".join(parts.columns)
        if not self._layout.unpacked and (PAYLOAD,) not in self._evolution.deselected:
            members = b'"%b":{%b}' % (PAYLOAD.encode(), members)
        self.misfits.add(parts.misfits)
        if not parts.misfits or self._evolution.mode == NONE:
            return members
        rescued = Rescued()
        for misfit in parts.misfits:
            rescued.add(misfit)
        values = b'"%b":%b' % (RESCUED.encode(), rescued.encode())
        return b"%b,%b" % (members, values) if members else values


def missing_key(name: str) -> str:
    """What is wrong with a message that lacks a key property."""
    return (
        f"it has no value for {name}, which is a key property; "
        "leave such messages out with a __filter__ in stream_maps"
    )
