"""Converts the payloads of a page to records that conform to their SCHEMA."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from .evolution import ADD_COLUMNS, FAIL, ColumnRegistry
from .fitting import Fitting
from .layout import MESSAGE_FIELDS, PAYLOAD, RESCUED
from .misfits import NULL, Misfit, MisfitCounts, key_problem, rescued_object, schema_problem
from .unpacker import Parts, slots, take_apart, without_fields

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Columns, Path
    from .evolution import Evolution
    from .layout import Layout


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
