"""Prepares records for the SDK's stream maps and flattening."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import PAYLOAD, RESCUED, RESCUED_SCHEMA

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import RecordMessage

    from .columns import Columns, Path
    from .layout import Layout
    from .stream_maps import StreamMaps


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
        for stream_map in stream_maps:
            if stream_map.stream_alias == message.stream:
                for key in stream_map.transformed_key_properties or ():
                    if record.get(key) is None:
                        return key
        return None

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
