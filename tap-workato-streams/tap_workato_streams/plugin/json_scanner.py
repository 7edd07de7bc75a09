"""Splits any JSON object or array into its parts without decoding them.

msgspec is faster, but rejects lone surrogates and nesting that exceeds Python's recursion limit.
For msgspec, the first are replaced; the second is scanned here, token by token. Both take linear
time.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

from .json_text import HiddenSurrogates, check_utf8

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])

# The tokens of RFC 8259. All repetitions are limited, because each takes memory in a match.
_SPACE = rb"[ \t\r\n]*"
_UNESCAPED, _ESCAPE = rb'[^"\\\x00-\x1f]*', rb'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_STRING_PART = rb"%b(?:%b%b){0,1000}" % (_UNESCAPED, _ESCAPE, _UNESCAPED)
_STRING = rb'"%b"' % _STRING_PART
_OTHER = rb"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null"
_SCALAR = rb"(?:%b|%b)%b" % (_STRING, _OTHER, _SPACE)
_MEMBER = rb"%b%b:%b%b" % (_STRING, _SPACE, _SPACE, _SCALAR)
# Most objects and arrays contain no others, and a regular expression splits them faster.
_FLAT = rb"(?:\{%b(?:%b(?:,%b%b){0,500})?\}|\[%b(?:%b(?:,%b%b){0,500})?\])" % (
    (_SPACE, _MEMBER, _SPACE, _MEMBER, _SPACE, _SCALAR, _SPACE, _SCALAR)
)
_TOKENS = rb"(?P<string>%b)|(?P<other>%b)|(?P<mark>[{}\[\],:])|(?P<begin>\")" % (_STRING, _OTHER)
_TOKEN = re.compile(rb"%b(?:%b)" % (_SPACE, _TOKENS))
_TOKEN_OR_FLAT = re.compile(rb"%b(?:(?P<flat>%b)|%b)" % (_SPACE, _FLAT, _TOKENS))
_REST = re.compile(_STRING_PART)
_CLOSES = {"{": "}", "[": "]"}
# The tokens that are allowed next; an object or array that has just begun may also end.
_NAME, _FIRST_NAME, _COLON = "a name", "a name or }", "a colon"
_VALUE, _FIRST_VALUE, _COMMA = "a value", "a value or ]", "a comma or the end"
_ALLOWED = {
    _NAME: {"string"},
    _FIRST_NAME: {"string", "}"},
    _COLON: {":"},
    _VALUE: {"string", "other", "flat", "{", "["},
    _FIRST_VALUE: {"string", "other", "flat", "{", "[", "]"},
    _COMMA: {",", "}", "]"},
}


def members(text: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members.

    Args:
        text: The object.

    Returns:
        The bytes of each member's value by its name; if a name occurs twice, the last value.

    Raises:
        ValueError: The text is not a JSON object in UTF-8; the reason never quotes the text.
    """
    try:
        return {name: bytes(value) for name, value in _OBJECT.decode(text).items()}
    except (msgspec.DecodeError, RecursionError):
        pass
    hidden = HiddenSurrogates(text)
    try:
        found = _OBJECT.decode(hidden.text)
    except (msgspec.DecodeError, RecursionError):
        return scan(text, "{")
    return {hidden.restored_name(name): hidden.restored(value) for name, value in found.items()}


def elements(text: bytes) -> list[bytes]:
    """Split a JSON array into its elements.

    Raises:
        ValueError: The text is not a JSON array in UTF-8; the reason never quotes the text.
    """
    try:
        return [bytes(value) for value in _ARRAY.decode(text)]
    except (msgspec.DecodeError, RecursionError):
        pass
    hidden = HiddenSurrogates(text)
    try:
        return [hidden.restored(value) for value in _ARRAY.decode(hidden.text)]
    except (msgspec.DecodeError, RecursionError):
        return list(scan(text, "[").values())


def scan(text: bytes, opening: str) -> dict[str, bytes]:
    """Split an object or array of any depth; the names of elements are their indices."""
    check_utf8(text)
    if not text.lstrip(b" \t\r\n").startswith(opening.encode()):
        raise ValueError(f"not a JSON {'object' if opening == '{' else 'array'}")
    found: dict[str, bytes] = {}
    name = ""
    for place, start, end in _tokens(text):
        if place in {_NAME, _FIRST_NAME}:
            name = json.loads(text[start:end])
        else:
            found[name if opening == "{" else str(len(found))] = text[start:end].strip()
    return found


def _tokens(text: bytes) -> Iterator[tuple[str, int, int]]:
    """Check the grammar.

    Yields:
        The kind, start and end of each name and value of the outermost object or array.
    """
    # The open brackets and their positions.
    open_marks: list[tuple[str, int]] = []
    place, position, end = _VALUE, 0, len(text.rstrip(b" \t\r\n"))
    while position < end:
        kind, start, position = _token(text, position, is_nested=bool(open_marks))
        if kind not in _ALLOWED[place] or (place is _COMMA and not open_marks):
            raise ValueError(f"not valid JSON: {place} is missing at byte {start + 1}")
        if kind in _CLOSES:
            open_marks.append((kind, start))
            place = _FIRST_NAME if kind == "{" else _FIRST_VALUE
            continue
        if kind in {"}", "]"}:
            mark, start = open_marks.pop()
            if _CLOSES[mark] != kind:
                raise ValueError(f"not valid JSON: {_CLOSES[mark]} is missing at byte {position}")
            place = _VALUE
        if len(open_marks) == 1 and kind not in {",", ":"}:
            yield place, start, position
        place = _after(kind, place, in_object=bool(open_marks) and open_marks[-1][0] == "{")
    if open_marks or place is not _COMMA:
        raise ValueError("not valid JSON: it ends too early")


def _token(text: bytes, position: int, *, is_nested: bool) -> tuple[str, int, int]:
    """Return the kind, start and end of the next token; the kind is empty if it is invalid."""
    match = (_TOKEN_OR_FLAT if is_nested else _TOKEN).match(text, position)
    if match is None or match.lastgroup is None:
        return "", position, position
    kind = match.lastgroup
    start, end = match.span(kind)
    if kind == "mark":
        return chr(text[start]), start, end
    if kind == "begin":
        # The string has more escapes than the regular expression allows.
        while text[end : end + 1] != b'"':
            rest = _REST.match(text, end)
            if rest is None or rest.end() == end:
                return "", start, start
            end = rest.end()
        return "string", start, end + 1
    return kind, start, end


def _after(kind: str, place: str, *, in_object: bool) -> str:
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _NAME if in_object else _VALUE
    return _COLON if place in {_NAME, _FIRST_NAME} else _COMMA
