"""The columns that are known at the start of a run: declared, bookmarked, or in a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .columns import from_schema, paths, schemas
from .evolution import ADD_COLUMNS, ColumnRegistry
from .layout import MESSAGE_FIELDS, PAYLOAD, PREFIX, RESCUED, prefixed_notes

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .columns import Columns, Path
    from .layout import Layout

# More levels of objects than any bookmark has.
MAX_LEVELS = 100


def from_bookmark(value: object, levels: int) -> Columns:
    """Read the columns in a bookmark.

    Raises:
        ValueError: They do not have the form in which the tap writes them.
    """
    if value is None:
        return {}
    schema = {"properties": value}
    if schemas(from_schema(schema, MAX_LEVELS)) != value:
        raise ValueError("columns must be an object with a JSON Schema per field name")
    return from_schema(schema, levels)


@dataclass(frozen=True)
class CatalogColumns:
    """The columns in a catalog, whichever record format it was made for.

    Args:
        columns: The columns of the payload.
        deselected: The paths in the record that are deselected.
    """

    columns: Columns
    deselected: Collection[Path]

    @classmethod
    def of(
        cls, schema: Mapping[str, Any], mask: Mapping[Path, bool], layout: Layout
    ) -> CatalogColumns:
        """Read the catalog of a stream.

        Args:
            schema: The schema of the record in the catalog.
            mask: Whether the catalog selects a breadcrumb.
            layout: The format of the record.
        """
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        paths = {crumb[1::2] for crumb, is_selected in mask.items() if crumb and not is_selected}
        fixed = {*MESSAGE_FIELDS, RESCUED}
        # Only nested records have no rescued data and, if they are flattened, no other fields.
        if RESCUED not in properties if layout.unpacked else properties.keys() <= {*fixed, PAYLOAD}:
            payload = properties.get(PAYLOAD)
            columns = from_schema(payload if isinstance(payload, dict) else {}, layout.levels)
            if layout.unpacked:
                paths = {p[1:] if p[0] == PAYLOAD and len(p) > 1 else p for p in paths}
            return cls(columns, paths)
        fields = {name: about for name, about in properties.items() if name not in fixed}
        columns = from_schema({"properties": fields}, layout.levels)
        if not layout.unpacked:
            paths = {path if path[0] in fixed else (PAYLOAD, *path) for path in paths}
        return cls({_field(name, each.notes): each for name, each in columns.items()}, paths)

    def deselects(self, path: Path) -> bool:
        """Whether a path in the record, or an object that it is in, is deselected."""
        return any(path[:depth] in self.deselected for depth in range(1, len(path) + 1))


def combined(
    declared: Columns | None, bookmarked: Columns, catalog: Columns, mode: str, layout: Layout
) -> Columns:
    """Combine the known columns in order of precedence.

    Args:
        declared: The columns of a declared schema; None without one.
        bookmarked: The columns that the last run emitted. A column keeps its first type.
        catalog: The columns of the catalog, or of a sample.
        mode: The setting `schema_evolution`.
        layout: The format of the record.
    """
    if declared is None:
        return ColumnRegistry(layout, bookmarked, catalog).columns
    return ColumnRegistry(layout, declared, bookmarked if mode == ADD_COLUMNS else {}).columns


def key_path(columns: Columns, name: str, layout: Layout) -> Path | None:
    """Return the path of the field whose column is a key property, if there is one."""
    return next((path for path in paths(columns) if layout.column_name(path) == name), None)


def _field(column: str, notes: Mapping[str, str]) -> str:
    """Return the field of the payload that a column belongs to."""
    field = column.removeprefix(PREFIX)
    if column != field and field in MESSAGE_FIELDS and notes == prefixed_notes(field):
        return field
    return column
