"""Validates the catalog of a run, and keeps the topic id in each stream's metadata."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from singer_sdk.singerlib import Catalog
from singer_sdk.singerlib.catalog import StreamMetadata

from ..event_streams.errors import SettingError
from .schemas import malformed

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger("tap-workato-streams")


@dataclass(slots=True)
class TopicMetadata(StreamMetadata):
    """A stream's metadata with the topic id, so that a renamed topic keeps its stream name."""

    topic_id: int | None = None

    @classmethod
    def of(cls, metadata: StreamMetadata, topic_id: int) -> TopicMetadata:
        """Add the topic id to a stream's metadata."""
        known = {each.name: getattr(metadata, each.name) for each in fields(StreamMetadata)}
        return cls(**known, topic_id=topic_id)


def parse_catalog(document: object, file: str = "catalog") -> Catalog:
    """Parse a catalog.

    Args:
        document: The content of the catalog file.
        file: The name of the file, for errors.

    Raises:
        SettingError: The document is not a catalog.
    """
    streams = document.get("streams") if isinstance(document, dict) else None
    if not isinstance(streams, list):
        raise SettingError(f"{file}: not a catalog, since streams is not an array")
    for number, stream in enumerate(streams):
        if problem := _problem(stream):
            raise SettingError(f"{file}: streams[{number}]{problem}")
        name, renamed = stream["tap_stream_id"], stream.get("stream")
        if renamed not in {None, name}:
            logger.warning(
                "%s: ignoring the name %s in the catalog; to rename a stream, set name in topics",
                name,
                renamed,
            )
    catalog = Catalog.from_dict({"streams": streams})
    for stream in streams:
        entry = catalog[stream["tap_stream_id"]]
        for item in stream.get("metadata", []):
            topic_id = item["metadata"].get("topic-id")
            if not item["breadcrumb"] and isinstance(topic_id, int):
                entry.metadata[()] = TopicMetadata.of(entry.metadata.root, topic_id)
        # The SDK registers a stream under this name, and looks it up under its id.
        entry.stream = entry.tap_stream_id
        root = entry.metadata.get(())
        in_metadata = root.table_key_properties if isinstance(root, StreamMetadata) else None
        entry.key_properties = entry.key_properties or in_metadata or ["message_id"]
    return catalog


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
    if missing := sorted(set(streams) - catalog.keys()):
        logger.warning(
            "%s: not in the catalog, so not read; to add %s, run discovery again "
            "(Meltano: --refresh-catalog)",
            ", ".join(missing),
            "it" if len(missing) == 1 else "them",
        )
    selected = {
        entry.tap_stream_id for entry in catalog.streams if entry.metadata.resolve_selection()[()]
    }
    if gone := sorted(selected - set(streams)):
        logger.warning(
            "%s: selected in the catalog, but the topic no longer exists, so not read; to "
            "remove %s, run discovery again (Meltano: --refresh-catalog)",
            ", ".join(gone),
            "it" if len(gone) == 1 else "them",
        )


def _problem(stream: Any) -> str | None:  # noqa: ANN401 - JSON
    if not isinstance(stream, dict):
        return " is not an object"
    checks = {
        "tap_stream_id": isinstance(stream.get("tap_stream_id"), str) and stream["tap_stream_id"],
        "stream": isinstance(stream.get("stream"), str | None),
        "schema": isinstance(stream.get("schema", {}), dict),
        "metadata": isinstance(stream.get("metadata", []), list),
        "key_properties": _are_names(stream.get("key_properties") or []),
    }
    for key, is_valid in checks.items():
        if not is_valid:
            return f".{key} is missing or has the wrong type"
    for item in stream.get("metadata", []):
        if problem := _metadata_problem(item):
            return f".metadata has an item {problem}"
    if where := malformed(stream.get("schema", {}), ".schema"):
        return f"{where} is not valid in a JSON Schema"
    return None


def _metadata_problem(item: Any) -> str | None:  # noqa: ANN401 - JSON
    crumb = item.get("breadcrumb") if isinstance(item, dict) else None
    if not _are_names(crumb):
        return "whose breadcrumb is not an array of strings"
    if crumb and (crumb[0] != "properties" or len(crumb) == 1):
        return "whose breadcrumb does not name a property"
    metadata = item.get("metadata")
    if not isinstance(metadata, dict):
        return "without metadata"
    if not isinstance(metadata.get("selected"), bool | None):
        return "whose selected has the wrong type"
    if not _are_names(metadata.get("table-key-properties") or []):
        return "whose table-key-properties has the wrong type"
    return None


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)
