"""A key that is the same whenever the same record is published, so that doubles can be told."""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import simplejson

from ..plugin.json_scanner import members

if TYPE_CHECKING:
    from .messages import Stream

DIGITS = 32


def message_key(record: bytes, stream: Stream, original: bytes) -> str:
    """Make the key of a record: of its stream and key properties, else of its content.

    Spacing, the order of fields and escapes do not matter to it; every digit does.

    Args:
        record: The record.
        stream: Its stream.
        original: The record as it came in: added metadata differs from run to run.

    Returns:
        32 hexadecimal digits.
    """
    keys = list(stream.key_properties)
    fields = members(record) if keys else {}
    # A key that is null tells nothing apart.
    if keys and all(fields.get(key, b"null") != b"null" for key in keys):
        parts = [stream.name.encode(), *(_canonical(fields[key]) for key in keys)]
    else:
        parts = [stream.name.encode(), b"content", _canonical(original)]
    digest = hashlib.sha256()
    for part in parts:
        # The length keeps ("ab", "c") and ("a", "bc") apart.
        digest.update(b"%d:%b" % (len(part), part))
    return digest.hexdigest()[:DIGITS]


def _canonical(text: bytes) -> bytes:
    try:
        value: Any = json.loads(text, parse_float=Decimal, parse_int=Decimal)
        return simplejson.dumps(value, use_decimal=True, sort_keys=True).encode()
    except (ValueError, ArithmeticError, RecursionError):
        # Nested too deeply, or a number beyond Decimal: the text itself has to do.
        return text
