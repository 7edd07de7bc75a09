"""Schema evolution: the handling of data that does not fit, and new columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plugin.wording import shown
from .columns import Column, merged, paths
from .inference import infer_column
from .layout import MAX_COLUMNS, RESCUED, ColumnNames

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from .columns import Columns, Path
    from .layout import Layout
    from .unpacker import Misfit

ADD_COLUMNS, RESCUE, FAIL, NONE = "add_columns", "rescue", "fail", "none"
MODES = (ADD_COLUMNS, RESCUE, FAIL, NONE)
# The maximum number of remembered fields, since payloads may have ids as field names.
MAX_SETTLED = 10 * MAX_COLUMNS


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

    @property
    def rescues(self) -> bool:
        """Whether `_rescued` is selected; if not, new fields are not selected, either."""
        return (RESCUED,) not in self.deselected

    @property
    def drops(self) -> bool:
        """Whether values that do not fit their columns are dropped."""
        return self.mode == NONE or not self.rescues


class ColumnRegistry:
    """The columns of a topic so far, and their names.

    Args:
        layout: The format of the record.
        columns: The columns at the start of the run, in order of precedence.
    """

    def __init__(self, layout: Layout, columns: Columns) -> None:
        self._layout = layout
        self._names = ColumnNames(layout)
        # A column keeps its first type, and a name belongs to its first field.
        self._settled: set[Path] = set()
        self.columns = self._names.admit(columns)

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
                admitted = self._names.admit({path[-1]: column}, path[:-1])
                found = merged(found, _below(path[:-1], admitted))
        if found:
            self.columns = merged(self.columns, found)
        return found

    def is_settled(self, path: Path) -> bool:
        """Whether a field without a column will not get one in this run."""
        return self._is_closed or path in self._settled

    @property
    def _is_closed(self) -> bool:
        return self._names.are_used_up or len(self._settled) >= MAX_SETTLED

    def names(self, columns: Columns) -> list[str]:
        """Return the names of columns in the record, for the log."""
        return [shown(self._layout.column_name(path)) for path in paths(columns)]


def _below(parents: Path, columns: Columns) -> Columns:
    for name in reversed(parents):
        columns = {name: Column(("object",), fields=columns)} if columns else {}
    return columns
