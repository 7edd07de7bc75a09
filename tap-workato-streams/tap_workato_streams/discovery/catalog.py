"""Validates the catalog of a run, and keeps the topic id in each stream's metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from singer_sdk.singerlib import Catalog
from singer_sdk.singerlib.catalog import StreamMetadata

from ..event_streams import logger
from ..event_streams.errors import SettingError
from ..plugin.wording import shown
from ..records.columns import TYPES

_NAMES = {"type": ["array", "null"], "items": {"type": "string"}}
_TYPE = {"enum": [*TYPES, "null", None]}
_SCHEMA = {"$ref": "#/$defs/schema"}
# What the tap and the SDK use of a catalog, which may have been edited by hand.
CATALOG_SCHEMA = {
    "type": "object",
    "required": ["streams"],
    "properties": {"streams": {"type": "array", "items": {"$ref": "#/$defs/stream"}}},
    "$defs": {
        "stream": {
            "type": "object",
            "required": ["tap_stream_id"],
            "properties": {
                "tap_stream_id": {"type": "string", "minLength": 1},
                "stream": {"type": ["string", "null"]},
                "schema": _SCHEMA,
                "key_properties": _NAMES,
                "metadata": {"type": "array", "items": {"$ref": "#/$defs/metadata"}},
            },
        },
        "metadata": {
            "type": "object",
            "required": ["breadcrumb", "metadata"],
            "properties": {
                "breadcrumb": {
                    **_NAMES,
                    "type": "array",
                    # Empty for the stream itself, otherwise the path of a property.
                    "if": {"minItems": 1},
                    "then": {"minItems": 2, "prefixItems": [{"const": "properties"}]},
                },
                "metadata": {
                    "type": "object",
                    "properties": {
                        "selected": {"type": ["boolean", "null"]},
                        "table-key-properties": _NAMES,
                        "topic-id": {"type": ["integer", "null"]},
                    },
                },
            },
        },
        "schema": {
            "type": "object",
            "properties": {
                "properties": {"type": ["object", "null"], "additionalProperties": _SCHEMA},
                "items": {"if": {"type": "null"}, "else": _SCHEMA},
                "type": {"if": {"type": "array"}, "then": {"items": _TYPE}, "else": _TYPE},
                "format": {"type": ["string", "null"]},
                "enum": {"type": ["array", "null"]},
                **{
                    keyword: {"type": ["array", "null"], "items": _SCHEMA}
                    for keyword in ("anyOf", "oneOf", "allOf")
                },
            },
        },
    },
}


@dataclass(slots=True)
class TopicMetadata(StreamMetadata):
    """A stream's metadata with the topic id, so that a renamed topic keeps its stream name."""

    topic_id: int | None = None
    record_format: str | None = None


def parse_catalog(document: object, file: str = "catalog") -> Catalog:
    """Parse the content of a catalog file, whose name is only used in errors."""
    import jsonschema_rs  # noqa: PLC0415 - takes 20 ms, and discovery has no catalog

    for error in jsonschema_rs.Draft202012Validator(CATALOG_SCHEMA).iter_errors(document):
        where = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in error.instance_path)
        label = f"{where[1:]}: " if where else ""
        raise SettingError(f"{file}: not a catalog: {label}{shown(error.message)}")
    streams: list[dict[str, Any]] = cast("Any", document)["streams"]
    catalog = Catalog.from_dict({"streams": streams})
    for stream in streams:
        entry = catalog[stream["tap_stream_id"]]
        if entry.stream not in {None, entry.tap_stream_id}:
            logger.warning(
                "%s: ignoring the name %s in the catalog; to rename a stream, set name in topics",
                entry.tap_stream_id,
                entry.stream,
            )
        # The SDK registers a stream under this name, and looks it up under its id.
        entry.stream = entry.tap_stream_id
        for item in stream.get("metadata", []):
            if not item["breadcrumb"]:
                entry.metadata[()] = TopicMetadata.from_dict(item["metadata"])
        root = entry.metadata.get(())
        in_metadata = root.table_key_properties if isinstance(root, StreamMetadata) else None
        entry.key_properties = entry.key_properties or in_metadata or ["message_id"]
    return catalog


def check_format(catalog: Catalog, record_format: str) -> None:
    """Check that a catalog was made for a record format, since its columns depend on it."""
    for entry in catalog.streams:
        root = entry.metadata.get(())
        made_for = root.record_format if isinstance(root, TopicMetadata) else None
        if made_for not in {None, record_format}:
            raise SettingError(
                f"{entry.tap_stream_id}: the catalog was made for record_format {made_for}, not "
                f"{record_format}; run discovery again (Meltano: --refresh-catalog)"
            )


def names_by_topic(catalog: Catalog | None) -> dict[int, str]:
    """Return the stream names in a catalog by topic id."""
    names = {}
    for entry in catalog.streams if catalog else ():
        root = entry.metadata.get(())
        if isinstance(root, TopicMetadata) and root.topic_id is not None:
            names[root.topic_id] = entry.tap_stream_id
    return names


def log_differences(catalog: Catalog, streams: Sequence[str]) -> None:
    """Log which streams are missing from the catalog, and which of its topics no longer exist."""
    remedy = "run discovery again (Meltano: --refresh-catalog)"
    if missing := sorted(set(streams) - catalog.keys()):
        text = "%s: not in the catalog, so not read; to add new topics, %s"
        logger.warning(text, ", ".join(missing), remedy)
    selected = {name for name, entry in catalog.items() if entry.metadata.resolve_selection()[()]}
    if gone := sorted(selected - set(streams)):
        text = "%s: selected in the catalog, but the topic no longer exists, so not read; %s"
        logger.warning(text, ", ".join(gone), remedy)
