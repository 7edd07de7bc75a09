"""Split a JSON object into its members without decoding them, whatever they hold.

msgspec does this, and fast, for all valid JSON but two kinds: lone surrogates, and nesting that is
deeper than Python's recursion limit. Those are scanned here, token by token.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])

# The tokens of RFC 8259.
_TOKEN = re.compile(
    rb'(?P<text>"[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")'
    rb"|(?P<other>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
    rb"|(?P<mark>[{}\[\],:])"
    rb"|(?P<space>[ \t\r\n]+)"
)
_TEXT, _OTHER = "text", "other"
_CLOSES = {"{": "}", "[": "]"}
# What may stand where; an object or list that has just begun may also end.
_NAME, _FIRST_NAME, _COLON = "a name", "a name or }", "a colon"
_VALUE, _FIRST_VALUE, _COMMA = "a value", "a value or ]", "a comma or the end"
_ALLOWED = {
    _NAME: {_TEXT},
    _FIRST_NAME: {_TEXT, "}"},
    _COLON: {":"},
    _VALUE: {_TEXT, _OTHER, "{", "["},
    _FIRST_VALUE: {_TEXT, _OTHER, "{", "[", "]"},
    _COMMA: {",", "}", "]"},
}


class _Token(NamedTuple):
    place: str
    depth: int
    start: int
    end: int


def members(text: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members.

    Args:
        text: The object.

    Returns:
        The bytes of each member's value by its name; of names that come twice, the last.

    Raises:
        ValueError: The text is not a JSON object in UTF-8; the reason never quotes the text.
    """
    try:
        return {name: bytes(value) for name, value in _MEMBERS.decode(text).items()}
    except (msgspec.DecodeError, RecursionError):
        return scan(text)


def scan(text: bytes) -> dict[str, bytes]:
    """Do the same as ``members``, slowly, for any depth and any escape."""
    check_utf8(text)
    if not text.lstrip().startswith(b"{"):
        raise ValueError("not a JSON object")
    found: dict[str, bytes] = {}
    name, start = "", 0
    for token in _tokens(text):
        if token.depth != 1:
            continue
        if token.place in {_NAME, _FIRST_NAME}:
            name = json.loads(text[token.start : token.end])
        elif token.place is _COLON:
            start = token.end
        elif token.place is _VALUE:
            found[name] = text[start : token.end].strip()
    return found


def _tokens(text: bytes) -> Iterator[_Token]:
    """Check the grammar. A value that holds others comes out when it ends, as one token.

    Yields:
        Each token, with what it was taken for and the depth of what it stands in.
    """
    # The brackets that are open, and where they stand.
    open_marks: list[tuple[str, int]] = []
    place, position = _VALUE, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        kind = _kind(match)
        start, position = position, match.end() if match else position
        if kind == "space":
            continue
        if kind not in _ALLOWED[place] or (place is _COMMA and not open_marks):
            raise ValueError(f"not valid JSON: {place} is missing at byte {start + 1}")
        if kind in _CLOSES:
            open_marks.append((kind, start))
            place = _FIRST_NAME if kind == "{" else _FIRST_VALUE
        elif kind in _CLOSES.values():
            mark, start = open_marks.pop()
            if _CLOSES[mark] != kind:
                raise ValueError(f"not valid JSON: {_CLOSES[mark]} is missing at byte {position}")
            yield _Token(_VALUE, len(open_marks), start, position)
            place = _COMMA
        else:
            yield _Token(
                _VALUE if place is _FIRST_VALUE else place, len(open_marks), start, position
            )
            place = _after(kind, place, in_object=bool(open_marks) and open_marks[-1][0] == "{")
    if open_marks or place is not _COMMA:
        raise ValueError("not valid JSON: it ends too early")


def _kind(match: re.Match[bytes] | None) -> str:
    if match is None:
        return ""
    return match[0].decode() if match.lastgroup == "mark" else str(match.lastgroup)


def _after(kind: str, place: str, *, in_object: bool) -> str:
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _NAME if in_object else _VALUE
    return _COLON if place in {_NAME, _FIRST_NAME} else _COMMA


def check_utf8(text: bytes) -> None:
    """Make sure of the encoding, which msgspec does not look at in what it leaves undecoded.

    Raises:
        ValueError: The text is not UTF-8.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"not UTF-8 at byte {exc.start + 1}") from None
