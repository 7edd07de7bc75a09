"""The stream maps of one stream, and the preparation of its records for the SDK's mapping."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any

from .columns import PAYLOAD, RESCUED, RESCUED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import RecordMessage

    from .columns import Columns, Layout, Path

KEY_PROPERTIES, ALIAS, SOURCE = "__key_properties__", "__alias__", "__source__"


@dataclass(frozen=True)
class StreamMaps:
    """The maps of one stream; None is a map that removes the stream."""

    maps: Sequence[Mapping[str, Any] | None]

    @classmethod
    def of(cls, stream: str, setting: Mapping[str, Any]) -> StreamMaps:
        """Find the maps that the SDK applies to a stream; without any, nothing is changed."""
        found: list[Mapping[str, Any] | None] = []
        for name, definition in setting.items():
            about = definition if isinstance(definition, dict) else {}
            if fnmatch(stream, about.get(SOURCE, name)) or stream == about.get(SOURCE, name):
                found.append(definition if isinstance(definition, dict) else None)
        return cls(found or [{}])

    @property
    def keep_records(self) -> bool:
        """Whether the records are emitted unchanged, possibly with another stream name or key."""
        first, *others = self.maps
        return not others and first is not None and first.keys() <= {KEY_PROPERTIES, ALIAS}

    def payload_keys(self, default: Collection[str]) -> set[str]:
        """Return the key properties that must be in the records before they are mapped.

        Args:
            default: The key properties of the unmapped stream.
        """
        keys = ((map_, _keys(map_, default)) for map_ in self.maps if map_ is not None)
        return {key for map_, names in keys for key in names if key not in map_}

    def has_other_key(self, default: Collection[str]) -> bool:
        """Whether several records may have the same key, unlike messages."""
        keys = (list(_keys(map_, default)) for map_ in self.maps if map_ is not None)
        return any(names not in ([], ["message_id"]) for names in keys)

    def mentions(self, name: str) -> bool:
        """Whether a map sets or removes a property."""
        return any(name in map_ for map_ in self.maps if map_)


def _keys(map_: Mapping[str, Any], default: Collection[str]) -> Collection[str]:
    return (map_[KEY_PROPERTIES] or []) if KEY_PROPERTIES in map_ else default


class MappedRecords:
    """Adapts records and schemas before and after the SDK maps them.

    Args:
        layout: The format of the records.
        maps: The stream maps of the stream.
    """

    def __init__(self, layout: Layout, maps: StreamMaps) -> None:
        self._layout = layout
        self._maps = maps
        # Flattening encodes an object without properties as JSON text, but rescued data stays an
        # object.
        self._restores = layout.flattening is not None and not maps.mentions(RESCUED)

    def restore_schemas(self, stream_maps: Sequence[StreamMap]) -> None:
        """Declare rescued data as an object again."""
        for stream_map in stream_maps if self._restores else ():
            properties = stream_map.transformed_schema.get("properties", {})
            if RESCUED in properties:
                properties[RESCUED] = RESCUED_SCHEMA

    def fill(self, record: dict[str, Any], columns: Columns) -> list[str]:
        """Add the missing columns of a record as null, so that expressions can use them.

        Returns:
            The names of these columns.
        """
        if self._maps.keep_records:
            return []
        part = record if self._layout.unpacked else record.setdefault(PAYLOAD, {})
        return self._filled(part, columns, ())

    def finish(
        self,
        message: RecordMessage,
        rescued: object,
        filled: Collection[str],
        stream_maps: Sequence[StreamMap],
    ) -> str | None:
        """Revert the changes to a record that were only made for the SDK.

        Returns:
            A key property without a value, or None.
        """
        record = message.record
        for name in filled:
            if record.get(name) is None:
                record.pop(name, None)
        if self._restores and rescued is not None and RESCUED in record:
            record[RESCUED] = rescued
        maps = (each for each in stream_maps if each.stream_alias == message.stream)
        keys = (key for each in maps for key in each.transformed_key_properties or ())
        return next((key for key in keys if record.get(key) is None), None)

    def _filled(self, part: dict[str, Any], columns: Columns, parents: Path) -> list[str]:
        filled = []
        for name, column in columns.items():
            path = (*parents, name)
            key = self._layout.record_path(path)[-1]
            if column.fields:
                filled += self._filled(part.setdefault(key, {}), column.fields, path)
            elif key not in part:
                part[key] = None
                filled.append(self._layout.column_name(path))
        return filled
