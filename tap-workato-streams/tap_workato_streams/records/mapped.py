"""Records on their way through the SDK's stream maps and flattening."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .layout import PAYLOAD, RESCUED, RESCUED_SCHEMA
from .misfits import missing_key

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from singer_sdk.mapper import StreamMap
    from singer_sdk.singerlib import RecordMessage

    from .columns import Columns, Path
    from .layout import Layout
    from .stream_maps import StreamMaps


class MappedRecords:
    """What records need before and after the SDK handles them.

    Args:
        layout: The format of the records.
        maps: The stream maps of the stream.
    """

    def __init__(self, layout: Layout, maps: StreamMaps) -> None:
        self._layout = layout
        self._maps = maps
        # Flattening makes JSON text of an object without properties, which rescued data is not.
        self._restores = layout.flattening is not None and not maps.mentions(RESCUED)

    def restore_schemas(self, stream_maps: Sequence[StreamMap]) -> None:
        """Declare rescued data as an object again."""
        for stream_map in stream_maps if self._restores else ():
            properties = stream_map.transformed_schema.get("properties", {})
            if RESCUED in properties:
                properties[RESCUED] = RESCUED_SCHEMA

    def fill(self, record: dict[str, Any], columns: Columns) -> list[str]:
        """Add the columns that a record lacks as null, so that expressions can name them.

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
        """Undo in a record what was only for the SDK.

        Returns:
            Why the record cannot be written; None if it can.
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
                        return missing_key(key)
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
