"""Removes the token and the values of payloads from what the service says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Iterator

REASON_LIMIT = 300
REDACTED = "***"
# A shorter sequence may match characters of a payload by chance.
FRAGMENT = 8


def redact(text: str, token: str, body: bytes = b"") -> str:
    """Convert a text from the service to one short line without the token and the body's values."""
    for form in {token, json.dumps(token)[1:-1], quote(token, safe="")}:
        text = text.replace(form, REDACTED)
    text = " ".join(text.split())[:REASON_LIMIT]
    try:
        values = list(_values(json.loads(body or b"{}", parse_int=str, parse_float=str)))
    except (ValueError, RecursionError):
        return "reason withheld: it may quote the payload"
    forms = {form for value in values for form in _forms(value) if form in text}
    for form in sorted(forms, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", REDACTED, text)
    return _without_fragments(text, "\0".join([token, *values]))


def _values(value: object) -> Iterator[str]:
    """Yield the strings and numbers in a decoded JSON value, at any depth, without field names."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _values(each)
    elif isinstance(value, str) and value.strip():
        yield value


def _forms(value: str) -> Iterator[str]:
    """Yield a value as it may be quoted: on one line, or escaped once or twice."""
    escaped = json.dumps(value)[1:-1]
    yield " ".join(value.split())
    yield escaped
    yield json.dumps(escaped)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]


def _without_fragments(text: str, values: str) -> str:
    """Replace parts of longer values and of the token, which the service may have cut off."""
    kept = ""
    while text:
        size = FRAGMENT - 1
        while size < len(text) and text[: size + 1] in values:
            size += 1
        if size >= FRAGMENT:
            kept, text = kept + REDACTED, text[size:]
        else:
            kept, text = kept + text[0], text[1:]
    return kept
