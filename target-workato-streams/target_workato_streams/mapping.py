"""Records that must be decoded, for stream maps, flattening, metadata or validation."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from singer_sdk import Target
from singer_sdk.exceptions import InvalidJSONSchema, MappingError
from singer_sdk.mapper import StreamMap
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.sinks import Sink

from .event_streams.json import decode
from .singer_messages import InputError, Record, Stream

Json = dict[str, Any]
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Validator:
    """Validates the records of a stream.

    The SDK's validator compares decimals with floats, so that ``multipleOf: 0.01`` rejects 1.10.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        import jsonschema_rs  # noqa: PLC0415 - only with validate_records

        try:
            # Draft 7 without formats, like the SDK. References to other hosts are not resolved.
            self._validator = jsonschema_rs.Draft7Validator(
                schema, validate_formats=False, offline=True
            )
        except (ValueError, RecursionError) as exc:
            raise InvalidJSONSchema("not a JSON Schema") from exc

    def problem(self, record: bytes) -> str | None:
        """Return the rule that a record violates, without its content; None if it is valid."""
        try:
            # The library does not accept subclasses of Decimal.
            value = decode(_SURROGATE.sub(rb"\\ufffd", record), Decimal)
            error = next(iter(self._validator.iter_errors(value)), None)
        except Exception as exc:  # noqa: BLE001 - a problem of the record only
            return f"cannot be validated ({type(exc).__name__})"
        if error is None:
            return None
        path = _path(error.schema_path)
        if error.schema_path[-1] == "required":
            return f"{path} violates the stream's schema: {error.message}"
        return f"{path} violates `{error.schema_path[-1]}` of the stream's schema"


def _path(schema_path: Sequence[str | int]) -> str:
    """Return the path of a field in the schema; names that are only in the record may be data."""
    path, parts = "$", iter(schema_path[:-1])
    for part in parts:
        if part == "properties":
            path += f".{next(parts, '')}"
        elif part == "items":
            path += "[*]"
        elif part in {"additionalProperties", "patternProperties"}:
            path += ".*"
    return path


@contextmanager
def mapping(stream: str) -> Iterator[None]:
    """Raise `InputError` with the stream's name if the SDK fails to map or flatten it."""
    try:
        yield
    except InvalidJSONSchema:
        raise InputError(f"stream {stream}: the schema is not a JSON Schema") from None
    except Exception as exc:
        text, remedy = str(exc), "fix stream_maps"
        if text.startswith("Duplicate column name produced in schema"):
            remedy = "set another flattening_separator or a larger flattening_max_key_length"
        elif not isinstance(exc, MappingError):  # the message may quote a record
            text = type(exc).__name__
        raise InputError(
            f"stream {stream}: its stream map or flattening failed ({text}); {remedy}"
        ) from exc


def _without_guesses(schema: Json, raw: Json, maps: Json) -> Json:
    """Allow any type where the SDK makes a computed property a string, because it cannot tell."""
    known = {name for name, described in raw["properties"].items() if described}
    rules = [rule for each in maps.values() if isinstance(each, dict) for rule in each.items()]
    properties = dict(schema["properties"])
    for name, rule in rules:
        text = str(rule)  # __key_properties__ is a list
        is_typed = known & {name, text} or text.startswith(("str(", "json.dumps(", "'"))
        if not is_typed and properties.get(name) == {"type": ["string", "null"]}:
            properties[name] = {}
    return {**schema, "properties": properties}


class MappedStream:
    """A stream after one of its stream maps, with flattening, metadata and validation.

    The SDK's sinks would parse dates, remove fields that belong to the source, and end the run at
    an invalid record; so only its mapper is used, and what its sinks do to add metadata.
    """

    def __init__(self, stream_map: StreamMap, raw_schema: Json, target: Target) -> None:
        keys = tuple(stream_map.transformed_key_properties or ())
        self.stream = Stream(stream_map.stream_alias, keys)
        maps = target.config.get("stream_maps") or {}
        self.schema = _without_guesses(stream_map.transformed_schema, raw_schema, maps)
        self._transform = stream_map.transform
        self.sync_started_at = target.initialized_at  # the SDK adds this to the metadata
        self._adds_metadata = target.config.get("add_record_metadata")
        if self._adds_metadata:
            Sink._add_sdc_metadata_to_schema(self)  # type: ignore[arg-type]  # noqa: SLF001
        self._validator = Validator(self.schema) if target.config["validate_records"] else None

    def apply(self, fields: dict[str, Any], record: Record) -> tuple[bytes, str | None] | None:
        """Map a record; return it as JSON with its problem, or None if the map removes it."""
        mapped = self._transform(fields.copy())
        if mapped is None:
            return None
        if self._adds_metadata:
            texts = {"version": record.version, "time_extracted": record.time_extracted}
            message = {name: json.loads(text) for name, text in texts.items() if text}
            Sink._add_sdc_metadata_to_record(self, mapped, message, {})  # type: ignore[arg-type]  # noqa: SLF001
        text = serialize_json(mapped).encode()
        if self._validator is None:
            return text, None
        if missing := [key for key in self.stream.key_properties if key not in mapped]:
            return text, f"key property {' and '.join(missing)} is missing"
        return text, self._validator.problem(text)
