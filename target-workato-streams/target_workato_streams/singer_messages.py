"""The Singer messages of the input, and their streams and records.

Fields that may be large (record, schema, state) are not decoded unless necessary, so every digit,
date and escape is preserved.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from singer_sdk.exceptions import RecordsWithoutSchemaException

from .event_streams.errors import EventStreamsError
from .event_streams.json import check_utf8, members

ABSENT = msgspec.Raw()
# Keywords of JSON Schema whose values are data.
_LITERALS = {"const", "default", "enum", "examples"}


class InputError(EventStreamsError):
    """The input is invalid; the message contains the reason, but no content."""


class RecordBeforeSchemaError(InputError, RecordsWithoutSchemaException):
    """A record precedes the schema of its stream."""


class SingerMessage(msgspec.Struct, gc=False):
    """A message of the input; its type determines which fields are set."""

    type: str = ""
    stream: str = ""
    record: msgspec.Raw = ABSENT
    value: msgspec.Raw = ABSENT
    schema: msgspec.Raw = ABSENT
    version: msgspec.Raw = ABSENT
    time_extracted: msgspec.Raw = ABSENT
    key_properties: list[str] | None = None

    def need(self, *fields: str) -> None:
        """Raise `InputError` if one of these fields is missing."""
        missing = [name for name in fields if getattr(self, name) in ("", ABSENT)]
        if missing:
            raise InputError(f"the {self.type} message has no {' and no '.join(missing)}")


def decode_schema(text: bytes) -> dict[str, Any]:
    """Decode a stream's schema; a part that is null, or has no properties, allows any value."""
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


_decode = msgspec.json.Decoder(SingerMessage).decode
# The other fields of a message are Raw.
_DECODED = {"type", "stream", "key_properties"}


def parse_message(line: bytes) -> SingerMessage:
    """Parse a line of the input, which must be a JSON object in UTF-8."""
    try:
        try:
            message = _decode(line)
            check_utf8(line)
        except (msgspec.DecodeError, RecursionError):
            # A lone surrogate or very deep nesting; other reasons are found again.
            fields = {
                name: json.loads(text) if name in _DECODED else msgspec.Raw(text)
                for name, text in members(line).items()
            }
            message = msgspec.convert(fields, SingerMessage)
    except (msgspec.ValidationError, ValueError) as exc:
        raise InputError(str(exc)) from None
    return message


@dataclass(frozen=True)
class Stream:
    """A stream according to its latest SCHEMA message."""

    name: str
    key_properties: Sequence[str] = ()
    schema: bytes = b""  # as received; empty for a stream that is created by a stream map
    may_be_from_topic: bool = False  # whether its records have the fields of tap-workato-streams


class Record(msgspec.Struct, frozen=True, gc=False):
    """A record as received, before stream maps change it."""

    stream: Stream
    text: bytes
    line: int  # of the input
    version: bytes = b""  # of its RECORD message, as received; empty if there is none
    time_extracted: bytes = b""  # likewise

    def __str__(self) -> str:
        """Name the record in log lines, without its content."""
        return f"{self.stream.name}, line {self.line}"
