"""Inspects the text of JSON values: their type, and whether a database can store them."""

from __future__ import annotations

import json
import re
from datetime import date
from math import isfinite

import msgspec

from ..event_streams.json import members

STRING, INTEGER, NUMBER, BOOLEAN = "string", "integer", "number", "boolean"
OBJECT, ARRAY, NULL = "object", "array", "null"

BIG_INTEGER = "big integer"  # one that does not fit in 64 bits; not a type of JSON Schema

# RFC 3339 with the dates and date-times that a database and Python can hold: an offset, and
# microseconds at most. `matches` checks that the day exists.
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_MINUTES = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_SECONDS = r":[0-5][0-9](?:\.[0-9]{1,6})?"
# PostgreSQL rejects offsets of 16 hours and more.
_DATE_TIME = rf"{_DATE}T{_MINUTES}{_SECONDS}(?:Z|[+-](?:0[0-9]|1[0-5]):[0-5][0-9])"
FORMATS = {"date": re.compile(_DATE.encode()), "date-time": re.compile(_DATE_TIME.encode())}
# Other notations that meltanolabs-target-postgres and pipelinewise-target-postgres load as the same
# instant: tried with each of them. The latter ignores offsets.
_LOADED = rf"{_DATE}(?:[Tt ]{_MINUTES}(?:{_SECONDS})?(?:Z|[+-]00(?::?00)?)?)?"
LOADABLE_FORMATS = {**FORMATS, "date-time": re.compile(rf"{_DATE_TIME}|{_LOADED}".encode())}

# Python's int() accepts 4,300 digits; PostgreSQL's numeric type 131,072 before the point and 16,383
# after it, exponents included. A number beyond that fails in a loader before it reaches a column.
MAX_DIGITS = 4000
MAX_EXPONENT_DIGITS = 4

# The first bytes of the values of each type.
FIRST_BYTES = {STRING: b'"', BOOLEAN: b"tf", OBJECT: b"{", ARRAY: b"[", NULL: b"n"}
FIRST_BYTES |= dict.fromkeys((INTEGER, NUMBER), b"-0123456789")
_TYPES = {byte: kind for kind, first in FIRST_BYTES.items() for byte in first}  # digits: NUMBER
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_EXPONENT = re.compile(rb"[eE][+-]?0*([0-9]+)\Z")
_check_value = msgspec.json.Decoder(msgspec.Raw).decode


def type_of(raw: bytes) -> str:
    """Return the JSON Schema type of a value, or `BIG_INTEGER`."""
    found = _TYPES[raw[0]]
    if found is not NUMBER or not raw.lstrip(b"-").isdigit():
        return found
    return INTEGER if is_integer(raw) else BIG_INTEGER


def is_integer(raw: bytes) -> bool:
    """Whether a number is an integer that fits in 64 bits, without a point or an exponent."""
    if not raw.lstrip(b"-").isdigit():
        return False
    return len(raw) < 19 or (len(raw) < 21 and -(2**63) <= int(raw) < 2**63)  # 18 digits always fit


def is_double(raw: bytes) -> bool:
    """Whether a number is within the range of a double; it may have more digits.

    A number that a double rounds to 0 is not: PostgreSQL's double precision rejects it.
    """
    if len(raw) < 100 and b"e" not in raw and b"E" not in raw:
        return True  # Without an exponent, so few digits are always within the range.
    if not _is_storable_number(raw):
        return False
    value = float(raw)
    return isfinite(value) and (value != 0 or not raw.lower().partition(b"e")[0].strip(b"-0."))


def matches(raw: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Whether the text between the quotes of a string matches a pattern of `LOADABLE_FORMATS`."""
    if not pattern.fullmatch(raw, 1, len(raw) - 1):
        return False
    try:
        date.fromisoformat(raw[1:11].decode())
    except ValueError:
        return False
    return True


def may_hold_nul(text: bytes) -> bool:
    """Whether a text may contain an escaped NUL, which no PostgreSQL type can store."""
    return b"\\" in text and b"\\u0000" in text


def is_storable(raw: bytes) -> bool:
    """Whether databases and JSON libraries can store a value unchanged."""
    if raw[0] in b"tfn":
        return True
    if may_hold_nul(raw) and _NUL.search(raw):
        return False
    if _TYPES.get(raw[0]) is NUMBER:
        return _is_storable_number(raw)
    try:
        _check_value(raw)
    except (msgspec.DecodeError, RecursionError):  # a lone surrogate, or nested too deeply
        return False
    return True


def _is_storable_number(raw: bytes) -> bool:
    exponent = _EXPONENT.search(raw)
    return len(raw) <= MAX_DIGITS and (exponent is None or len(exponent[1]) <= MAX_EXPONENT_DIGITS)


def is_storable_name(name: str) -> bool:
    """Whether a field's name can be part of a JSON Pointer and of a database."""
    try:
        return b"\x00" not in name.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False


def as_text(raw: bytes) -> bytes:
    """Encode the JSON text of a value as a JSON string."""
    return json.dumps(raw.decode()).encode()


def needs_text(raw: bytes) -> bool:
    """Whether a value can only be stored as a string that contains its JSON text.

    This includes strings that look like such a text, so that the two can be distinguished.
    """
    if not is_storable(raw):
        return True
    return raw.startswith(b'"') and is_json_text(json.loads(raw).encode())


def is_json_text(content: bytes) -> bool:
    """Whether a string contains the JSON text of a value that had to be stored as text."""
    if not content or content[0] not in _TYPES:
        return False
    if is_storable(content):
        return content[0] == ord('"') and needs_text(content)
    try:
        return list(members(b'{"":%b}' % content)) == [""]
    except ValueError:
        return False
