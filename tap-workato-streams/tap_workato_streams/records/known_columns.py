"""The columns that are known at the start of a run: declared, bookmarked, or in a catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .columns import from_schema, paths, schemas
from .evolution import ADD_COLUMNS, ColumnRegistry
from .layout import MESSAGE_FIELDS, PAYLOAD, PREFIX, RESCUED, prefixed_notes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .columns import Columns, Path
    from .layout import Layout

# More levels of objects than any bookmark has.
MAX_LEVELS = 100


def from_bookmark(value: object, levels: int) -> Columns:
    """Read the columns in a bookmark.

    Raises:
        ValueError: They are not as the tap writes them.
    """
    if value is None:
        return {}
    schema = {"properties": value}
    if schemas(from_schema(schema, MAX_LEVELS)) != value:
        raise ValueError("columns must be an object with a JSON Schema per field name")
    return from_schema(schema, levels)


def from_catalog(schema: Mapping[str, Any], layout: Layout) -> Columns:
    """Read the columns of a payload from the schema of its record.

    The catalog may have been made for the other record format.
    """
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    if _is_nested(properties, layout):
        payload = properties.get(PAYLOAD)
        return from_schema(payload if isinstance(payload, dict) else {}, layout.levels)
    fields = {
        name: properties[name] for name in properties if name not in (*MESSAGE_FIELDS, RESCUED)
    }
    columns = from_schema({"properties": fields}, layout.levels)
    return {_field(name, column.notes): column for name, column in columns.items()}


def deselected_paths(
    mask: Mapping[tuple[str, ...], bool], schema: Mapping[str, Any], layout: Layout
) -> set[Path]:
    """Return the paths in the record that a catalog deselects, whichever format it was made for.

    Args:
        mask: Whether the catalog selects a breadcrumb.
        schema: The schema of the record in the catalog.
        layout: The format of the record.
    """
    paths = {crumb[1::2] for crumb, is_selected in mask.items() if crumb and not is_selected}
    is_nested = _is_nested(schema.get("properties", {}), layout)
    if layout.unpacked and is_nested:
        return {path[1:] if path[0] == PAYLOAD and len(path) > 1 else path for path in paths}
    if not layout.unpacked and not is_nested:
        fixed = {*MESSAGE_FIELDS, RESCUED}
        return {path if path[0] in fixed else (PAYLOAD, *path) for path in paths}
    return paths


def _is_nested(properties: Mapping[str, Any], layout: Layout) -> bool:
    """Whether a catalog was made for nested records, since only those have no rescued data."""
    if layout.unpacked:
        return RESCUED not in properties
    return not properties.keys() - {*MESSAGE_FIELDS, PAYLOAD, RESCUED}


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
