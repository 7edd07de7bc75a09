"""Messages to publish: their payload, with a key if configured, and their possible outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from ..event_streams.json import members
from ..message_key import NO_ROW_VERSION, RowVersion, version
from ..singer_messages import Record, Stream

# With `exactly_once`, if no other field is set.
KEY_FIELD = "message_key"


def message_key_field(config: Mapping[str, Any]) -> str | None:
    """Return the name of the field with the message key, if there is one."""
    field: str | None = config.get("message_key_field")
    return field or (KEY_FIELD if config["exactly_once"] else None)


class InvalidPayloadError(Exception):
    """A record cannot become a message; the message has the reason, but no content."""


@dataclass(frozen=True)
class Payload:
    """The part of a record that is published."""

    field: str | None = None  # to publish instead of the record
    key_field: str | None = None  # to add with the message key
    is_remembered: bool = False  # whether the version of its row is needed in any case

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Payload:
        """Create the payload from the settings."""
        is_remembered = bool(config.get("published_rows_url"))
        return cls(config.get("payload_field"), message_key_field(config), is_remembered)

    def of(self, record: bytes, stream: Stream) -> tuple[bytes, RowVersion]:
        """Build the JSON object to publish, and return it with the version in its message key.

        Raises `InvalidPayloadError` if the payload is missing, or already has the key field.
        """
        body = record
        if self.field is not None:
            body = members(record).get(self.field, b"")
            if body[:1] != b"{":
                problem = "is not an object" if body else "is missing"
                raise InvalidPayloadError(f"payload_field {self.field} {problem}")
        if self.key_field is None:
            named = version(body, record, stream) if self.is_remembered else NO_ROW_VERSION
            return body, named
        # Nearly all payloads contain neither the name nor an escape, so most need no decoding.
        may_have_key = self._key_name in body or b"\\" in body
        if may_have_key and self.key_field in members(body):
            raise InvalidPayloadError(
                f"already has a field {self.key_field}, the name in message_key_field"
            )
        named = version(body, record, stream)
        comma = b"" if body == b"{}" or body[1:-1].isspace() else b","
        return b'%b%b%b:"%b"}' % (body[:-1], comma, self._key_name, named.key.encode()), named

    @cached_property
    def _key_name(self) -> bytes:
        return json.dumps(self.key_field, ensure_ascii=False).encode()

    def schema(self, schema: dict[str, Any]) -> object:
        """Return the JSON Schema of the payloads, given that of the records."""
        properties = schema["properties"]
        described = schema if self.field is None else properties.get(self.field)
        if self.key_field is None or not isinstance(described, dict):
            return described
        properties = {**(described.get("properties") or {}), self.key_field: {"type": "string"}}
        return {**described, "properties": properties}


class OutgoingMessage(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message to publish."""

    body: bytes  # the JSON object to publish
    record: Record
    sequence: int  # the number of the message within the run
    version: RowVersion = NO_ROW_VERSION  # in the message key
    # The record after stream maps, and its stream, whose name and key they may have changed.
    mapped: tuple[Stream, bytes] | None = None

    @property
    def stream_name(self) -> str:
        """The name of the stream after stream maps."""
        return (self.mapped[0] if self.mapped else self.record.stream).name


class Published(NamedTuple):
    """The service acknowledged these messages."""

    messages: Sequence[OutgoingMessage]
    unchanged: int = 0  # how many of them were not sent, because the topic's rows are the same


class Rejected(NamedTuple):
    """The service rejected this message, or it is invalid and was not sent."""

    message: OutgoingMessage
    reason: str
    status: int | None = None  # None if the message was not sent
    attempts: int = 0  # requests that contained it, not counting retries of a request


class Failed(NamedTuple):
    """The run cannot continue."""

    error: Exception
    rejected: Rejected | None = None  # the message that ends the run, if one does


Outcome = Published | Rejected | Failed
