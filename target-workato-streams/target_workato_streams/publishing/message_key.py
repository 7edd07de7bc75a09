"""Computes and reads the message key: it identifies a version of a row, the same in every run.

Its format and content are part of the public interface, because consumers compare keys.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import simplejson

from ..plugin.json import decode, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ..input.messages import Stream

_KEY = re.compile(rb'"([0-9a-f]{32})-([0-9a-f]{32})"')
STREAM_DIGITS = 8


class Version(NamedTuple):
    """A version of a row.

    Attributes:
        row: A hash of the stream and the row's key, with 32 hexadecimal digits. The first 8 digits
            only depend on the stream.
        content: A hash of the content, with 32 hexadecimal digits. For a row without a key, both
            hashes are the same.
    """

    row: str
    content: str

    @classmethod
    def from_key(cls, text: bytes) -> Version | None:
        """Parse the JSON text of a message key; None for any other value."""
        found = _KEY.fullmatch(text)
        return cls(found[1].decode(), found[2].decode()) if found else None

    @property
    def key(self) -> str:
        """The message key."""
        return f"{self.row}-{self.content}"

    @property
    def stream(self) -> str:
        """The part of the key that all rows of a stream have in common."""
        return self.row[:STREAM_DIGITS]

    @property
    def is_keyed(self) -> bool:
        """Whether the row has a key, so that a later version replaces this one."""
        return self.row != self.content


# The version of messages without a key; it never matches a message in a topic.
NO_VERSION = Version("", "")


DIGITS = 32
# Fields that taps and targets add: they differ from run to run, or describe how a row was read.
METADATA_PREFIX = "_sdc_"
DELETED_AT = "_sdc_deleted_at"

# Numbers with a fraction or exponent keep their digits.
_decode = msgspec.json.Decoder(
    float_hook=lambda digits: msgspec.Raw(digits.encode()),
).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def version(payload: bytes, record: bytes, stream: Stream) -> Version:
    """Identify a message by hashes of its row and its content.

    Spacing, the order of fields and escapes do not matter; every digit does.

    Args:
        payload: What is published, without the key itself.
        record: The record of the message, which contains the row's key.
        stream: The stream of the record.

    Returns:
        The version. A row without a key is identified by its content, so that both hashes are
        equal.
    """
    fields = _fields(payload)
    content = _content(payload, fields)
    if fields is not None and payload is record:
        values = _row_key(fields, stream)
    else:
        values = row_key(record, stream)
    prefix = _prefix(stream.name)
    if values is None:
        row = prefix + _hash([b"content", *content])[:-STREAM_DIGITS]
        return Version(row, row)
    return Version(prefix + _hash(values)[:-STREAM_DIGITS], _hash(content))


def read_version(payload: bytes, key_field: str) -> Version | None:
    """Read the message key from a message of a topic; None if another producer published it."""
    try:
        return Version.from_key(members(payload).get(key_field, b""))
    except ValueError:
        return None


def row_key(record: bytes, stream: Stream) -> list[bytes] | None:
    """Return the values of the key properties; None if they do not identify a row."""
    if not stream.key_properties:
        return None
    fields = members(record)
    values = [fields.get(name, b"null") for name in stream.key_properties]
    return None if b"null" in values else [_canonical(value) for value in values]


def _row_key(fields: Mapping[str, Any], stream: Stream) -> list[bytes] | None:
    """Return the values of the key properties from decoded fields."""
    values = [fields.get(name) for name in stream.key_properties]
    return None if None in values or not values else [_encode(value) for value in values]


def _fields(payload: bytes) -> dict[str, Any] | None:
    """Decode the fields; None for lone surrogates, deep nesting and numbers with many digits."""
    try:
        fields: dict[str, Any] = _decode(payload)
    except (msgspec.DecodeError, RecursionError):
        return None
    return fields


def _content(payload: bytes, fields: Mapping[str, Any] | None) -> list[bytes]:
    if fields is None:
        texts = members(payload)
        deleted = texts.get(DELETED_AT, b"null") != b"null"
        own = sorted(name for name in texts if not name.startswith(METADATA_PREFIX))
        parts = [
            part for name in own for part in (json.dumps(name).encode(), _canonical(texts[name]))
        ]
    else:
        deleted = fields.get(DELETED_AT) is not None
        if any(name.startswith(METADATA_PREFIX) for name in fields):
            fields = {k: v for k, v in fields.items() if not k.startswith(METADATA_PREFIX)}
        parts = [_encode(fields)]
    return [*parts, b"deleted"] if deleted else parts


def _canonical(text: bytes) -> bytes:
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return _encode(_decode(text))
    try:
        value = decode(text, Decimal)
        return simplejson.dumps(value, use_decimal=True, sort_keys=True).encode()
    except (ValueError, ArithmeticError, RecursionError):
        # For deep nesting, or a number beyond Decimal, use the text itself.
        return text


@functools.lru_cache(maxsize=1000)
def _prefix(stream: str) -> str:
    return _hash([stream.encode()])[:STREAM_DIGITS]


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        # With the length, ("ab", "c") and ("a", "bc") have different hashes.
        digest.update(b"%d:%b" % (len(part), part))
    return digest.hexdigest()[:DIGITS]
