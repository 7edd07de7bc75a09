"""The stream maps of one stream, and the preparation of its records for the SDK's mapping."""

from __future__ import annotations

import traceback
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from typing import Any

from singer_sdk.mapper import PluginMapper, StreamMap
from singer_sdk.singerlib import RecordMessage

from .columns import PAYLOAD, RESCUED, RESCUED_SCHEMA, Columns, Layout, Path, leaves

KEY_PROPERTIES, ALIAS, SOURCE = "__key_properties__", "__alias__", "__source__"
FILTER, ELSE = "__filter__", "__else__"
OPTIONS = (KEY_PROPERTIES, ALIAS, SOURCE, FILTER, ELSE)


@dataclass(frozen=True)
class StreamMaps:
    """The maps of one stream in the SDK's order; None is a map that removes the stream."""

    maps: Sequence[Mapping[str, Any] | None]
    names: Sequence[str]  # of the streams that are emitted

    @classmethod
    def of(cls, stream: str, setting: Mapping[str, Any]) -> StreamMaps:
        """Find the maps that the SDK applies to a stream; by default, nothing is changed."""
        first: Mapping[str, Any] | None = {}
        others: dict[str, Mapping[str, Any] | None] = {}
        for name, definition in setting.items():
            map_ = definition if isinstance(definition, dict) else None
            source = map_.get(SOURCE, name) if map_ else name
            if stream == source or fnmatch(stream, source):
                if map_ and SOURCE in map_:
                    others[name] = map_
                else:
                    first = map_
        alias = (first or {}).get(ALIAS)
        own = PluginMapper._eval_stream(alias, stream) if alias else stream  # noqa: SLF001 - not public
        return cls([first, *others.values()], [*([] if first is None else [own]), *others])

    @property
    def keep_records(self) -> bool:
        """Whether records keep their text; the stream may have another name or key."""
        first, *others = self.maps
        return not others and first is not None and first.keys() <= {KEY_PROPERTIES, ALIAS}

    @cached_property
    def sets(self) -> frozenset[str]:
        """The properties that a map sets."""
        return self._properties(removed=False)

    @cached_property
    def removes(self) -> frozenset[str]:
        """The properties that a map removes."""
        return self._properties(removed=True)

    def _properties(self, *, removed: bool) -> frozenset[str]:
        items = (item for map_ in self.maps if map_ for item in map_.items())
        return frozenset(
            name
            for name, value in items
            if name not in OPTIONS and (value is None or value == "__NULL__") is removed
        )

    def payload_keys(self, default: Collection[str]) -> set[str]:
        """Return the key properties that must be in the records before they are mapped."""
        maps = (map_ for map_ in self.maps if map_ is not None)
        return {key for map_ in maps for key in keys_of(map_, default) if key not in map_}

    def has_other_key(self, default: Collection[str]) -> bool:
        """Whether several records may have the same key, unlike messages."""
        keys = (list(keys_of(map_, default)) for map_ in self.maps if map_ is not None)
        return any(names not in ([], ["message_id"]) for names in keys)


def keys_of(map_: Mapping[str, Any], default: Collection[str]) -> Collection[str]:
    """Return the key properties of a mapped stream."""
    return (map_[KEY_PROPERTIES] or []) if KEY_PROPERTIES in map_ else default


class MappedRecords:
    """Adapts records and schemas before and after the SDK maps them."""

    def __init__(self, layout: Layout, maps: StreamMaps, keys: Sequence[str]) -> None:
        self._layout = layout
        self._maps = maps
        self._keys = keys  # of the unmapped stream
        self._mapped = maps.sets | maps.removes
        self._stream_maps: Sequence[StreamMap] = ()
        self._without_column: set[str] = set()
        # Flattening encodes an object without properties as text; rescued data stays an object.
        self._restores = layout.flattening is not None and RESCUED not in self._mapped

    def definitions(self, setting: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """Return `stream_maps` without keys that are no properties of the unflattened record.

        The SDK would reject them: a key such as `order__id`, or one that no message had so far.
        """
        known = schema["properties"].keys()
        result = dict(setting)
        for name, map_ in setting.items():
            if isinstance(map_, dict) and set(keys_of(map_, self._keys)) - map_.keys() - known:
                result[name] = {**map_, KEY_PROPERTIES: None}
        return result

    def finish_schemas(self, stream_maps: Sequence[StreamMap], columns: Columns) -> None:
        """Set the keys and the columns that the SDK cannot know."""
        self._stream_maps = stream_maps
        if self._layout.unpacked:
            # Expressions may use these, whether a message had them or not.
            names = self._mapped | self._maps.payload_keys(self._keys)
            known = {self._layout.column_name(path) for path in leaves(columns)}
            self._without_column = {*names} - known
        for stream_map, map_ in zip(stream_maps, self._maps.maps, strict=True):
            if map_ is None:
                continue
            stream_map.transformed_key_properties = map_.get(KEY_PROPERTIES, self._keys)
            properties = stream_map.transformed_schema.get("properties", {})
            if self._restores and RESCUED in properties:
                properties[RESCUED] = RESCUED_SCHEMA
            # The SDK removes properties before it flattens the record.
            for path in leaves(columns):
                *parents, name = self._layout.property_names(path)
                if name in self._maps.removes or not map_.keys().isdisjoint(parents):
                    properties.pop(name, None)

    def fill(self, record: dict[str, Any], columns: Columns) -> list[str]:
        """Add missing columns as null, so that expressions can use them; return their names."""
        part = record if self._layout.unpacked else record.setdefault(PAYLOAD, {})
        filled = self._filled(part, columns, ())
        for name in self._without_column - record.keys():
            record[name] = None
        return filled

    def finish(self, message: RecordMessage, rescued: object, filled: list[str]) -> str | None:
        """Revert what was only done for the SDK; return a key property without a value, or None."""
        record = message.record
        for name in filled:
            if record.get(name) is None:
                record.pop(name, None)
        if self._restores and rescued is not None and RESCUED in record:
            record[RESCUED] = rescued
        stream_map = next(each for each in self._stream_maps if each.stream_alias == message.stream)
        for name in record.keys() - stream_map.transformed_schema["properties"].keys():
            del record[name]
        keys = stream_map.transformed_key_properties or ()
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


def failed_property(error: BaseException) -> str | None:
    """Return the property whose expression raised an error in the SDK's mapper, if it was one."""
    # Only a variable of the SDK's method contains it: neither the error does, nor is there a hook.
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    mapping = (each.f_locals for each in frames if each.f_code.co_name == "_eval")
    return next((f["property_name"] or FILTER for f in mapping if "property_name" in f), None)
