"""Computes and reads the message key: it identifies a version of a row, the same in every run.

Its format and content are part of the public interface, because consumers compare keys.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec
import simplejson
from typing_extensions import Self

from .event_streams.json import decode, members
from .singer_messages import Stream

KEY = re.compile(rb'"([0-9a-f]{32})-([0-9a-f]{32})"')
STREAM_DIGITS = 8


class RowVersion(NamedTuple):
    """A version of a row: two hashes with 32 hexadecimal digits, equal for a row without a key."""

    row: str  # of the stream and the row's key; the first 8 digits only depend on the stream
    content: str

    @classmethod
    def from_key(cls, text: bytes) -> RowVersion | None:
        """Parse the JSON text of a message key; return None for any other value."""
        found = KEY.fullmatch(text)
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
NO_ROW_VERSION = RowVersion("", "")


# Fields that taps and targets add: they differ from run to run, or describe how a row was read.
METADATA_PREFIX = "_sdc_"
METADATA_MARK = METADATA_PREFIX.encode()
DELETED_AT = "_sdc_deleted_at"


def _framed(part: bytes) -> bytes:
    # With the length, ("ab", "c") and ("a", "bc") have different hashes.
    return b"%d:%b" % (len(part), part)


DELETED = _framed(b"deleted")

# Above this, an exponent is kept, since the digits could fill the memory.
MAX_ZEROS = 40


def _number(text: str) -> str:
    """Return the same text for all ways to write a number, without losing a digit."""
    if "e" not in text and "E" not in text:
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    try:
        sign, digits, exponent = Decimal(text).as_tuple()
    except InvalidOperation:  # the exponent is beyond what Decimal can hold
        return text
    kept = "".join(map(str, digits)).rstrip("0")
    zeros = int(exponent) + len(digits) - len(kept)
    if not kept:
        return "0"
    minus = "-" * sign
    if 0 <= zeros <= MAX_ZEROS:
        return f"{minus}{kept}{'0' * zeros}"
    if -MAX_ZEROS <= zeros < 0:
        whole, fraction = kept[:zeros], kept[zeros:].rjust(-zeros, "0")
        return f"{minus}{whole or '0'}.{fraction}"
    return f"{minus}{kept}e{zeros}"


_decode = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(_number(text).encode())).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def version(payload: bytes, record: bytes, stream: Stream) -> RowVersion:
    """Identify a message by hashes of its row and its content.

    The payload is what is published, without the key itself; the record contains the row's key.
    They are JSON values: spacing, escapes, the order of fields and the notation of numbers do not
    matter.
    """
    try:
        fields = _decode(payload)
    except (msgspec.DecodeError, RecursionError):
        # For lone surrogates, deep nesting and numbers with many digits.
        content = _slow_content(members(payload))
        values = row_key(record, stream)
    else:
        content = _content(fields, payload)
        if payload is record:
            values = [_encode(fields.get(name)) for name in stream.key_properties]
        else:
            values = row_key(record, stream)
    prefix = _prefix(stream.name)
    if b"null" in values or not values:
        row = prefix + _hash(_framed(b"content") + content)[:-STREAM_DIGITS]
        return RowVersion(row, row)
    row = prefix + _hash(b"".join(map(_framed, values)))[:-STREAM_DIGITS]
    return RowVersion(row, _hash(content))


def read_version(payload: bytes, key_field: str) -> RowVersion | None:
    """Read the message key from a message of a topic; None if another producer published it."""
    try:
        return RowVersion.from_key(members(payload).get(key_field, b""))
    except ValueError:
        return None


def row_key(record: bytes, stream: Stream) -> list[bytes]:
    """Return the values of the key properties; one of them may be null."""
    fields = members(record) if stream.key_properties else {}
    return [_canonical(fields.get(name, b"null")) for name in stream.key_properties]


def _content(fields: dict[str, Any], payload: bytes) -> bytes:
    # Nearly all payloads contain neither such a name nor an escape.
    if METADATA_MARK not in payload and b"\\" not in payload:
        return _framed(_encode(fields))
    own = {name: fields[name] for name in fields if not name.startswith(METADATA_PREFIX)}
    return _framed(_encode(own)) + (DELETED if fields.get(DELETED_AT) is not None else b"")


def _slow_content(fields: Mapping[str, bytes]) -> bytes:
    content = b"".join(
        _framed(json.dumps(name).encode()) + _framed(_canonical(fields[name]))
        for name in sorted(fields)
        if not name.startswith(METADATA_PREFIX)
    )
    return content + (DELETED if fields.get(DELETED_AT, b"null") != b"null" else b"")


class _Canonical(Decimal):
    def __new__(cls, text: str) -> Self:
        return super().__new__(cls, _number(text))


def _canonical(text: bytes) -> bytes:
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        return _encode(_decode(text))
    try:
        value = decode(text, _Canonical)
        return simplejson.dumps(value, use_decimal=True, sort_keys=True).encode()
    except (ValueError, ArithmeticError, RecursionError):
        # For deep nesting, or a number beyond Decimal, use the text itself.
        return text


@functools.lru_cache(maxsize=1000)
def _prefix(stream: str) -> str:
    return _hash(_framed(stream.encode()))[:STREAM_DIGITS]


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()[:32]
