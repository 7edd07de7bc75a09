"""Removes secrets and the values of payloads from what a service or a library says."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from urllib.parse import quote

REASON_LIMIT = 300
REDACTED = "***"
# A shorter sequence may match characters of a payload by chance.
FRAGMENT = 8


def redact(text: str, secrets: Sequence[str], body: bytes = b"") -> str:
    """Convert a text to one short line without secrets and without the values in a JSON body."""
    text = " ".join(text[: 10 * REASON_LIMIT].split())
    try:
        values = [*secrets, *_values(json.loads(body or b"{}", parse_int=str, parse_float=str))]
    except (ValueError, RecursionError):
        return "reason withheld: it may quote the payload"
    forms = {form for value in values for form in _forms(value) if form and form in text}
    for form in sorted(forms, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(form)}(?!\w)", REDACTED, text)
    # The service may have cut off a longer value.
    known, starts = "\0".join(values), range(len(text) - FRAGMENT + 1)
    parts = [at for at in starts if text[at : at + FRAGMENT] in known]
    hidden = {at + offset for at in parts for offset in range(FRAGMENT)}
    text = "".join("\0" if at in hidden else char for at, char in enumerate(text))
    return re.sub("\0+", REDACTED, text)[:REASON_LIMIT]


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
    """Yield a value as it may be quoted: on one line, in a URL, or escaped once or twice."""
    escaped = json.dumps(value)[1:-1]
    yield " ".join(value.split())
    yield quote(value, safe="", errors="replace")  # it may contain a lone surrogate
    yield escaped
    yield json.dumps(escaped)[1:-1]
    yield json.dumps(value, ensure_ascii=False)[1:-1]
