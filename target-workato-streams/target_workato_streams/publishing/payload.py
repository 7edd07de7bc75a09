"""What is published of a record: the record itself, one of its fields, a key added to it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..plugin.json_scanner import members
from .message_key import version

if TYPE_CHECKING:
    from ..state.versions import Version
    from .messages import Stream


class InvalidPayloadError(Exception):
    """A record that cannot become a message; the text is the reason, without the content."""


@dataclass(frozen=True)
class Payload:
    """Makes the message of a record.

    Args:
        field: Publish this field in place of the record.
        key_field: Add a field of this name that holds the message key.
    """

    field: str | None = None
    key_field: str | None = None

    @property
    def is_record(self) -> bool:
        """Whether each record is published as it is."""
        return self.field is None and self.key_field is None

    def of(self, record: bytes, stream: Stream) -> tuple[bytes, Version | None]:
        """Make the JSON object to publish.

        Args:
            record: The record.
            stream: Its stream.

        Returns:
            The object, and the version that its key names, if it has one.

        Raises:
            InvalidPayloadError: The record has no such payload, or has a field of the key's name.
        """
        body = record
        if self.field is not None:
            body = members(record).get(self.field, b"")
            if body[:1] != b"{":
                fault = "is not an object" if body else "is missing"
                raise InvalidPayloadError(f"payload_field {self.field} {fault}")
        if self.key_field is None:
            return body, None
        fields = members(body)
        if self.key_field in fields:
            raise InvalidPayloadError(
                f"it has a field {self.key_field}, as message_key_field is named"
            )
        named = version(body, record, stream)
        comma = "," if fields else ""
        key = f'{comma}{json.dumps(self.key_field)}:"{named.key}"}}'
        return body[:-1] + key.encode(), named

    def schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """The JSON Schema of what is published, from that of the records."""
        if self.field is not None:
            schema = schema.get("properties", {}).get(self.field, {})
        if self.key_field is None:
            return schema
        properties = {**schema.get("properties", {}), self.key_field: {"type": "string"}}
        return {**schema, "properties": properties}
