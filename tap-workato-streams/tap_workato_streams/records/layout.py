"""The positions and names of a payload's columns in the record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from singer_sdk.helpers._flattening import flatten_key

from .columns import Column, schemas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.helpers._flattening import FlatteningOptions

    from .columns import Columns, Path

RESCUED = "_rescued"
PAYLOAD = "payload"
PREFIX = "payload_"
# In both formats, a record has the first three fields.
MESSAGE_FIELDS: Mapping[str, dict[str, Any]] = {
    "message_id": {"type": "string", "description": "Opaque; its order says nothing"},
    "topic_id": {"type": "integer"},
    "time": {"type": "string", "format": "date-time", "description": "When published"},
}
RESCUED_SCHEMA: Mapping[str, Any] = {
    "type": ["object", "null"],
    "description": "Values without a column, by JSON Pointer",
}
# PostgreSQL allows 1,600 columns, and fewer in wide rows. Further fields are rescued, so that
# payloads with ids as field names do not block the load.
MAX_COLUMNS = 1000
# PostgreSQL truncates longer names, and target-postgres would then add the column in each run.
MAX_NAME_BYTES = 63


@dataclass(frozen=True)
class Layout:
    """The format of a record that is split into columns.

    Args:
        unpacked: Whether the payload's fields are at the top level of the record or in `payload`.
        flattening: The options of the SDK's flattening; None without flattening.
    """

    unpacked: bool
    flattening: FlatteningOptions | None = None

    @property
    def levels(self) -> int:
        """The number of levels of objects below the payload that become columns."""
        if self.flattening is None:
            return 0
        return self.flattening.max_level - (0 if self.unpacked else 1)

    def record_path(self, path: Path) -> Path:
        """Return the path of a payload's field in the record before flattening."""
        if not self.unpacked:
            return (PAYLOAD, *path)
        if not path:
            return ()
        first = PREFIX + path[0] if path[0] in MESSAGE_FIELDS else path[0]
        return (first, *path[1:])

    def column_name(self, path: Path) -> str:
        """Return the name of a field's column."""
        *parents, name = self.record_path(path)
        if self.flattening is None:
            return name
        return flatten_key(
            name,
            parents,
            self.flattening.separator,
            max_key_length=self.flattening.max_key_length,
        )

    def breadcrumb(self, path: Path) -> Path:
        """Return the breadcrumb of a field in the catalog's metadata."""
        return tuple(crumb for name in self.record_path(path) for crumb in ("properties", name))

    def record_schema(self, columns: Columns) -> dict[str, Any]:
        """Return the JSON Schema of the record before flattening."""
        if self.unpacked:
            fields = {
                self.record_path((name,))[0]: {**schema, **prefixed_notes(name)}
                for name, schema in schemas(columns).items()
            }
        elif columns:
            fields = {PAYLOAD: {"type": ["object", "null"], "properties": schemas(columns)}}
        else:
            # Flattening would turn an object without properties into a text column.
            fields = {}
        return {
            "type": "object",
            "properties": {
                **MESSAGE_FIELDS,
                # New columns come last, so that they do not move others in a CSV file.
                RESCUED: RESCUED_SCHEMA,
                **fields,
            },
            "required": ["message_id"],
        }


def prefixed_notes(name: str) -> dict[str, str]:
    """Return the note for a column with a prefix, by which it is recognised in a catalog."""
    return {"description": f"`{name}` of the payload"} if name in MESSAGE_FIELDS else {}


class ColumnNames:
    """The names of columns, each of which belongs to one field.

    Args:
        layout: The format of the record.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        taken = (*MESSAGE_FIELDS, RESCUED)
        self._columns: dict[str, Path] = dict.fromkeys(taken, ())
        # Before flattening, an object has a name in the record, even if it has no column.
        self._members: dict[str, Path] = dict.fromkeys(taken, ())

    def admit(self, columns: Columns, parents: Path = ()) -> Columns:
        """Assign names to columns.

        Args:
            columns: The columns, by the name of the field below ``parents``.
            parents: The objects that the fields belong to.

        Returns:
            The columns, without those whose name belongs to another field; their values are
            rescued.
        """
        admitted: Columns = {}
        # A field's own name takes precedence over another field's name with a prefix.
        for name in sorted(columns, key=lambda name: not parents and name in MESSAGE_FIELDS):
            path = (*parents, name)
            column = columns[name]
            if not self._has_member(path):
                continue
            if column.fields:
                # The SDK does not flatten an object that has the name of a column.
                if self._claim(path) and (fields := self.admit(column.fields, path)):
                    admitted[name] = Column(column.types, fields=fields, notes=column.notes)
            elif self._claim(path):
                admitted[name] = column
        return {name: admitted[name] for name in columns if name in admitted}

    @property
    def are_used_up(self) -> bool:
        """Whether no more columns can be added."""
        return len(self._columns) >= MAX_COLUMNS + len(MESSAGE_FIELDS) + 1

    def _has_member(self, path: Path) -> bool:
        if not self._layout.unpacked:
            return True
        return self._members.setdefault(self._layout.record_path(path)[0], path[:1]) == path[:1]

    def _claim(self, path: Path) -> bool:
        name = self._layout.column_name(path)
        if self.are_used_up or not _is_loadable(name):
            return False
        return self._columns.setdefault(name, path) == path


def _is_loadable(name: str) -> bool:
    """Whether loaders can add a column with this name.

    target-postgres escapes a percent sign in the name of a column that it adds, and loaders based
    on the SDK overwrite columns with the prefix `_sdc_`.
    """
    return len(name.encode()) <= MAX_NAME_BYTES and "%" not in name and not name.startswith("_sdc_")
