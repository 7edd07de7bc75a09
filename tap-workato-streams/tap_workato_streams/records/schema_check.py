"""Checks JSON Schemas that may have been edited by hand; full validation would take too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .columns import TYPES
from .json_values import NULL

if TYPE_CHECKING:
    from collections.abc import Iterator

_OPTIONS = ("anyOf", "oneOf", "allOf")
_KINDS = {
    "properties": dict,
    "items": dict,
    "format": str,
    "enum": list,
    **dict.fromkeys(_OPTIONS, list),
}


def malformed(schema: object, where: str = "") -> str | None:
    """Find what is malformed in a JSON Schema.

    Args:
        schema: The schema; only the parts that the tap uses are checked.
        where: The path of the schema in the document.

    Returns:
        The path of the first malformed part; None if there is none.
    """
    if not isinstance(schema, dict):
        return where
    for keyword, kind in _KINDS.items():
        if schema.get(keyword) is not None and not isinstance(schema[keyword], kind):
            return f"{where}.{keyword}"
    if not _is_type(schema.get("type") or NULL):
        return f"{where}.type"
    return next(filter(None, _malformed_parts(schema, where)), None)


def _malformed_parts(schema: dict[str, object], where: str) -> Iterator[str | None]:
    properties = schema.get("properties")
    for name, part in properties.items() if isinstance(properties, dict) else ():
        yield malformed(part, f"{where}.properties.{name}")
    if items := schema.get("items"):
        yield malformed(items, f"{where}.items")
    for keyword in _OPTIONS:
        options = schema.get(keyword)
        for number, part in enumerate(options if isinstance(options, list) else ()):
            yield malformed(part, f"{where}.{keyword}[{number}]")


def _is_type(named: object) -> bool:
    names = named if isinstance(named, list) else [named]
    return all(each in (*TYPES, NULL) for each in names)
