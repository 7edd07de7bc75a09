"""Splits a line of the input into the fields of its Singer message.

Fields that may be large (record, schema, state) are not decoded unless necessary, so every digit,
date and escape is preserved.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec
from singer_sdk.exceptions import RecordsWithoutSchemaException

from ..event_streams.errors import EventStreamsError
from ..plugin.json_scanner import members
from ..plugin.json_text import check_utf8

ABSENT = msgspec.Raw()
# Keywords of JSON Schema whose values are data.
_LITERALS = {"const", "default", "enum", "examples"}


class InputError(EventStreamsError):
    """The input is invalid; the message contains the reason, but no content."""


class RecordBeforeSchemaError(InputError, RecordsWithoutSchemaException):
    """A record precedes the schema of its stream."""


class Line(msgspec.Struct, gc=False):
    """The fields of a Singer message; the type determines which fields are set."""

    type: str = ""
    stream: str = ""
    record: msgspec.Raw = ABSENT
    value: msgspec.Raw = ABSENT
    schema: msgspec.Raw = ABSENT
    version: msgspec.Raw = ABSENT
    time_extracted: msgspec.Raw = ABSENT
    encoding: msgspec.Raw = ABSENT
    manifest: msgspec.Raw = ABSENT
    key_properties: list[str] | None = None

    def need(self, *fields: str) -> None:
        """Check that the message has all fields of its type.

        Raises:
            InputError: A field is missing.
        """
        missing = [name for name in fields if getattr(self, name) in ("", ABSENT)]
        if missing:
            raise InputError(f"the {self.type} message has no {' and no '.join(missing)}")


def decode_schema(text: bytes) -> dict[str, Any]:
    """Decode a stream's schema; a part that is null, or has no properties, allows any value.

    Raises:
        InputError: The schema cannot be decoded, or is not the schema of an object.
    """
    try:
        schema = _repaired(json.loads(text))
    except (ValueError, RecursionError):
        raise InputError("the schema cannot be decoded") from None
    if not isinstance(schema, dict):
        raise InputError("the schema does not describe an object")
    return {"properties": {}, **schema}


def _repaired(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """Remove null keywords, and properties that are not an object, since the SDK fails on them."""
    if not isinstance(schema, dict):
        return {} if schema is None or schema is True else schema
    cleaned = {}
    for keyword, value in schema.items():
        if keyword in _LITERALS:
            cleaned[keyword] = value
        elif keyword == "properties":
            if isinstance(value, dict):
                cleaned[keyword] = {name: _repaired(each) for name, each in value.items()}
        elif value is not None:
            cleaned[keyword] = _repaired(value) if isinstance(value, dict) else value
    return cleaned


_LINE = msgspec.json.Decoder(Line)
_RAW_FIELDS = {"record", "value", "schema", "version", "time_extracted", "encoding", "manifest"}


def split(line: bytes) -> Line:
    """Split a line of the input.

    Raises:
        InputError: The line is not a JSON object in UTF-8, or a field has a wrong type.
    """
    try:
        message = _LINE.decode(line)
        check_utf8(line)
    except (msgspec.DecodeError, RecursionError):
        message = _split_slowly(line)
    except ValueError as exc:
        raise InputError(str(exc)) from None
    return message


def _split_slowly(line: bytes) -> Line:
    try:
        found = members(line)
    except ValueError as exc:
        raise InputError(str(exc)) from None
    fields: dict[str, Any] = {
        name: msgspec.Raw(text) if name in _RAW_FIELDS else json.loads(text)
        for name, text in found.items()
        if name in Line.__struct_fields__
    }
    message = Line(**fields)
    keys = message.key_properties
    if not (isinstance(message.type, str) and isinstance(message.stream, str)):
        raise InputError("type and stream must be strings")
    if keys is not None and not (isinstance(keys, list) and all(isinstance(k, str) for k in keys)):
        raise InputError("key_properties must be a list of strings")
    return message
