"""Schema evolution: what becomes a column, and what happens to data that does not fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..plugin.wording import shown
from .columns import Column, merged, paths
from .inference import infer_column
from .layout import MESSAGE_FIELDS, RESCUED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from .columns import Columns, Path
    from .layout import Layout
    from .misfits import Misfit

ADD_COLUMNS, RESCUE, FAIL, NONE = "add_columns", "rescue", "fail", "none"
MODES = (ADD_COLUMNS, RESCUE, FAIL, NONE)

# PostgreSQL allows 1,600 columns, and fewer in wide rows. Further fields are rescued, so that
# payloads with ids as field names do not block the load.
MAX_COLUMNS = 1000
# The maximum number of remembered fields, for the same reason.
MAX_SETTLED = 10 * MAX_COLUMNS
# PostgreSQL truncates longer names, and target-postgres would then add the column in each run.
MAX_NAME_BYTES = 63


def evolution_mode(config: Mapping[str, Any], *, is_declared: bool) -> str:
    """Return the setting `schema_evolution`, or its default for a topic."""
    mode: str | None = config.get("schema_evolution")
    if mode:
        return mode
    return RESCUE if is_declared or config.get("batch_config") else ADD_COLUMNS


@dataclass(frozen=True)
class Evolution:
    """The handling of data that does not fit.

    Args:
        mode: The setting `schema_evolution`.
        is_deferred: Whether new columns have to wait for the next run.
        deselected: The paths in the record that the catalog deselects.
        required: The fields of the payload that are key properties.
    """

    mode: str
    is_deferred: bool = False
    deselected: Collection[Path] = frozenset()
    required: Collection[str] = ()

    @cached_property
    def rescues(self) -> bool:
        """Whether `_rescued` is selected; if not, new fields are not selected, either."""
        return (RESCUED,) not in self.deselected

    @cached_property
    def drops(self) -> bool:
        """Whether values that do not fit their columns are dropped."""
        return self.mode == NONE or not self.rescues


class ColumnRegistry:
    """The columns of a topic so far. A column keeps its first type, and a name its first field.

    Args:
        layout: The format of the record.
        known: The columns at the start of the run, in order of precedence.
    """

    def __init__(self, layout: Layout, *known: Columns) -> None:
        self._layout = layout
        taken = (*MESSAGE_FIELDS, RESCUED)
        # The field of each column, and of each member of the record before it is flattened: an
        # object has a name there, even if it has no column.
        self._names: dict[str, Path] = dict.fromkeys(taken, ())
        self._members: dict[str, Path] = dict.fromkeys(taken, ())
        self._settled: set[Path] = set()
        self.columns: Columns = {}
        for columns in known:
            self.columns = merged(self.columns, self._admit(columns))

    def new_columns(self, misfits: Iterable[Misfit]) -> Columns:
        """Create columns for fields that have none yet.

        A field without a type, such as one that is always null, has to wait.

        Args:
            misfits: The values that do not fit the columns.
        """
        samples: dict[Path, list[bytes]] = {}
        for path, raw, is_unknown, name in misfits:
            if is_unknown and name is None and path[-1] and not self.is_settled(path):
                samples.setdefault(path, []).append(raw)
        found: Columns = {}
        for path, values in samples.items():
            if self._is_closed:
                break
            levels = self._layout.levels - len(path) + 1
            if column := infer_column(values, levels, formats=False):
                self._settled.add(path)
                admitted = self._admit({path[-1]: column}, path[:-1])
                found = merged(found, _below(path[:-1], admitted))
        if found:
            self.columns = merged(self.columns, found)
        return found

    def is_settled(self, path: Path) -> bool:
        """Whether a field without a column will not get one in this run."""
        return self._is_closed or path in self._settled

    def names(self, columns: Columns) -> list[str]:
        """Return the names of columns in the record, for the log."""
        return [shown(self._layout.column_name(path)) for path in paths(columns)]

    @property
    def _is_closed(self) -> bool:
        return self._is_full or len(self._settled) >= MAX_SETTLED

    @property
    def _is_full(self) -> bool:
        return len(self._names) >= MAX_COLUMNS + len(MESSAGE_FIELDS) + 1

    def _admit(self, columns: Columns, parents: Path = ()) -> Columns:
        """Return the columns below ``parents`` whose names do not belong to other fields."""
        admitted: Columns = {}
        # A field's own name takes precedence over another field's name with a prefix.
        for name in sorted(columns, key=lambda name: not parents and name in MESSAGE_FIELDS):
            path = (*parents, name)
            column = columns[name]
            # The SDK does not flatten an object that has the name of a column.
            if not self._claim(path):
                continue
            if not column.fields:
                admitted[name] = column
            elif fields := self._admit(column.fields, path):
                admitted[name] = Column(column.types, fields=fields, notes=column.notes)
        return {name: admitted[name] for name in columns if name in admitted}

    def _claim(self, path: Path) -> bool:
        if self._layout.unpacked:
            member = self._layout.record_path(path)[0]
            if self._members.setdefault(member, path[:1]) != path[:1]:
                return False
        name = self._layout.column_name(path)
        if self._is_full or not _is_loadable(name):
            return False
        return self._names.setdefault(name, path) == path


def _is_loadable(name: str) -> bool:
    """Whether loaders can add a column with this name.

    target-postgres escapes a percent sign in the name of a column that it adds, and loaders based
    on the SDK overwrite columns with the prefix `_sdc_`.
    """
    return len(name.encode()) <= MAX_NAME_BYTES and "%" not in name and not name.startswith("_sdc_")


def _below(parents: Path, columns: Columns) -> Columns:
    for name in reversed(parents):
        columns = {name: Column(("object",), fields=columns)} if columns else {}
    return columns
