"""Records that must be decoded, for stream maps, flattening or metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatch
from typing import Any

from singer_sdk import Target
from singer_sdk.exceptions import MappingError
from singer_sdk.mapper import (
    MAPPER_ELSE_OPTION,
    MAPPER_SOURCE_OPTION,
    NULL_STRING,
    CustomStreamMap,
    StreamMap,
)
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import Sink
from singer_sdk.typing import StringType

from .singer_messages import InputError, Record, Stream

Json = dict[str, Any]


@contextmanager
def mapping(stream: str) -> Iterator[None]:
    """Raise `InputError` with the stream's name if the SDK fails to map or flatten it."""
    try:
        yield
    except Exception as exc:
        text, remedy = str(exc), "fix stream_maps"
        if text.startswith("Duplicate column name produced in schema"):
            remedy = "set another flattening_separator or a larger flattening_max_key_length"
        elif not isinstance(exc, MappingError):  # the message may quote a record
            text = type(exc).__name__
        raise InputError(
            f"stream {stream}: its stream map or flattening failed ({text}); {remedy}"
        ) from exc


def definitions(setting: Json, stream: str) -> list[Json]:
    """Return what `stream_maps` defines for each of the SDK's maps of a stream, in their order.

    The first one is the stream's own, of which the SDK uses the last definition that matches.
    """
    first: Json = {}
    copies: list[Json] = []
    for name, value in setting.items():
        definition = value if isinstance(value, dict) else {}
        source = definition.get(MAPPER_SOURCE_OPTION, name)
        if stream == source or fnmatch(stream, source):
            if MAPPER_SOURCE_OPTION in definition:
                copies.append(definition)
            else:
                first = definition
    return [first, *copies]


def _without_guesses(stream_map: StreamMap, schema: Json, definition: Json) -> Json:
    """Allow any type where the SDK makes a computed property a string, because it cannot tell."""
    mapped, raw, guess = stream_map.transformed_schema, schema["properties"], StringType()
    kept = {} if MAPPER_ELSE_OPTION in definition else raw
    properties = dict(mapped["properties"])
    for name, rule in definition.items():
        if name in properties and isinstance(stream_map, CustomStreamMap) and rule != NULL_STRING:
            is_known = kept.get(name) or raw.get(rule)
            if not is_known and stream_map._eval_type(rule, default=guess) is guess:  # noqa: SLF001 - it decides the type
                properties[name] = {}
    return {**mapped, "properties": properties}


class MappedStream:
    """A stream after one of its stream maps, with flattening and metadata.

    The SDK's sinks would parse dates, remove fields that belong to the source, and end the run at
    an invalid record; so only its mapper is used, and what its sinks do to add metadata. These
    methods use nothing of a sink but `schema` and `sync_started_at`, which this class has, too.
    """

    def __init__(
        self, stream_map: StreamMap, raw_schema: Json, definition: Json, target: Target
    ) -> None:
        keys = tuple(stream_map.transformed_key_properties or ())
        self.stream = Stream(stream_map.stream_alias, keys)
        self.schema = _without_guesses(stream_map, raw_schema, definition)
        self._transform = stream_map.transform
        self.sync_started_at = target.initialized_at
        self._adds_metadata = target.config.get("add_record_metadata")
        if self._adds_metadata:
            Sink._add_sdc_metadata_to_schema(self)  # type: ignore[arg-type]  # noqa: SLF001

    def apply(self, fields: Json, record: Record) -> bytes | None:
        """Map a record; return it as JSON, or None if the map removes it."""
        mapped = self._transform(fields.copy())
        if mapped is None:
            return None
        if self._adds_metadata:
            texts = {"version": record.version, "time_extracted": record.time_extracted}
            message = {name: json.loads(text) for name, text in texts.items() if text}
            Sink._add_sdc_metadata_to_record(self, mapped, message, {})  # type: ignore[arg-type]  # noqa: SLF001
        return serialize_json(mapped).encode()
