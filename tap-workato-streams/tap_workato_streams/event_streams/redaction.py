"""Removes the token and the payloads of a request from the service's error message."""

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
_QUOTES = "\"'`"


def redact(text: str, token: str, body: bytes = b"") -> str:
    """Convert a text from the service to one short line without secrets.

    Args:
        text: The text.
        token: The token of the request.
        body: The body of the request, whose values must not appear in the line.
    """
    for form in {token, json.dumps(token)[1:-1], quote(token, safe="")}:
        text = text.replace(form, REDACTED)
    text = re.sub(r"\s+", " ", text).strip()[:REASON_LIMIT]
    if not body:
        return _without_fragments(text, token)
    try:
        values = list(_values(json.loads(body, parse_int=str, parse_float=str)))
    except (ValueError, RecursionError):
        return "reason withheld: it may quote the payload"
    forms = {form for value in values for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = _without_value(text, form)
    return _without_fragments(text, "\0".join([token, *values]))


def _values(value: object) -> Iterator[str]:
    """Yield the strings and numbers in a decoded JSON value, at any depth, without field names."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _values(each)
    elif isinstance(value, str) and value:
        yield value


def _forms(value: str) -> set[str]:
    """Yield a value as it may be quoted: unchanged, on one line, or escaped once or twice."""
    escaped = json.dumps(value)[1:-1]
    return {
        " ".join(value.split()),
        escaped,
        json.dumps(escaped)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    } - {""}


def _without_value(text: str, value: str) -> str:
    if value not in text:
        return text
    before, after = (r"(?<!\w)", r"(?!\w)")
    if len(value) == 1 and value.isalpha():
        # A short value may be a word of the text, unless it is quoted.
        before, after = rf"(?<=[{_QUOTES}])", rf"(?=[{_QUOTES}])"
    return re.sub(before + re.escape(value) + after, REDACTED, text)


def _without_fragments(text: str, values: str) -> str:
    """Replace parts of longer values and of the token, which the service may have cut off."""
    kept = ""
    position = 0
    while position < len(text):
        end = position + FRAGMENT
        if len(text[position:end]) == FRAGMENT and text[position:end] in values:
            while end < len(text) and text[position : end + 1] in values:
                end += 1
            kept += REDACTED
            position = end
        else:
            kept += text[position]
            position += 1
    return kept
