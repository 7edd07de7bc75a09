"""Splitting JSON objects and arrays into their parts without decoding them, whatever they contain.

msgspec does this, and fast, for all valid JSON but two kinds: lone surrogates, and nesting deeper
than Python's recursion limit. The first are hidden from it; the second is scanned here, token by
token. Each takes time in proportion to the length of the text.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])

_HIGH, _LOW = rb"[89abAB][0-9a-fA-F]{2}", rb"[c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:%b(?!\\u[dD]%b)|%b(?<!\\u[dD]%b\\u[dD]%b))" % (_HIGH, _LOW, _LOW, _HIGH, _LOW)
)
# The private use area in lower-case escapes, and all ways to write its characters.
_STAND_IN = re.compile(rb"\\u(?:e[0-9a-f]{3}|f[0-8][0-9a-f]{2})")
_PRIVATE_USE = range(0xE000, 0xF900)
_PRIVATE_USE_ESCAPE = re.compile(rb"\\u([eE][0-9a-fA-F]{3}|[fF][0-8][0-9a-fA-F]{2})")
_PRIVATE_USE_UTF8 = re.compile(rb"\xee[\x80-\xbf]{2}|\xef[\x80-\xa3][\x80-\xbf]")

# The tokens of RFC 8259.
_TOKEN = re.compile(
    rb'[ \t\r\n]*(?:(?P<string>"[^"\\\x00-\x1f]*'
    rb'(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*")'
    rb"|(?P<other>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?|true|false|null)"
    rb"|(?P<mark>[{}\[\],:]))"
)
_CLOSES = {"{": "}", "[": "]"}
# What is allowed where; an object or array that has just begun may also end.
_NAME, _FIRST_NAME, _COLON = "a name", "a name or }", "a colon"
_VALUE, _FIRST_VALUE, _COMMA = "a value", "a value or ]", "a comma or the end"
_ALLOWED = {
    _NAME: {"string"},
    _FIRST_NAME: {"string", "}"},
    _COLON: {":"},
    _VALUE: {"string", "other", "{", "["},
    _FIRST_VALUE: {"string", "other", "{", "[", "]"},
    _COMMA: {",", "}", "]"},
}


def members(text: bytes) -> dict[str, bytes]:
    """Split a JSON object into its members.

    Args:
        text: The object.

    Returns:
        The bytes of each member's value by its name; of names that occur twice, the last.

    Raises:
        ValueError: The text is not a JSON object in UTF-8; the reason never quotes the text.
    """
    try:
        return {name: bytes(value) for name, value in _OBJECT.decode(text).items()}
    except (msgspec.DecodeError, RecursionError):
        pass
    hidden = _HiddenSurrogates(text)
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
    hidden = _HiddenSurrogates(text)
    try:
        return [hidden.restored(value) for value in _ARRAY.decode(hidden.text)]
    except (msgspec.DecodeError, RecursionError):
        return list(scan(text, "[").values())


def check_utf8(text: bytes) -> None:
    """Check the encoding, which msgspec ignores in what it does not decode.

    Raises:
        ValueError: The text is not UTF-8.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"not UTF-8 at byte {exc.start + 1}") from None


class _HiddenSurrogates:
    """A text in which each lone surrogate is replaced by a character that it does not contain."""

    def __init__(self, text: bytes) -> None:
        check_utf8(text)
        if b"\0" in text:
            raise ValueError(f"not valid JSON: NUL at byte {text.index(0) + 1}")
        used = {int(match, 16) for match in _PRIVATE_USE_ESCAPE.findall(text)}
        used.update(ord(match.decode()) for match in _PRIVATE_USE_UTF8.findall(text))
        self._free = (code for code in _PRIVATE_USE if code not in used)
        self._stand_ins: dict[bytes, bytes] = {}
        # An escaped backslash does not begin another escape.
        unescaped = text.replace(rb"\\", b"\0\0")
        self.text = _LONE_SURROGATE.sub(self._hide, unescaped).replace(b"\0\0", rb"\\")
        self._originals = {stand_in: lone for lone, stand_in in self._stand_ins.items()}
        self._characters = {
            ord(json.loads(b'"%b"' % stand_in)): json.loads(b'"%b"' % lone)
            for stand_in, lone in self._originals.items()
        }

    def restored(self, part: msgspec.Raw) -> bytes:
        """A part of the text as it was."""
        return _STAND_IN.sub(lambda match: self._originals.get(match[0], match[0]), bytes(part))

    def restored_name(self, name: str) -> str:
        """A decoded name as it was."""
        return name.translate(self._characters)

    def _hide(self, match: re.Match[bytes]) -> bytes:
        lone = match[0]
        if lone not in self._stand_ins:
            # If there are no more, it stays: then the text is scanned.
            code = next(self._free, None)
            self._stand_ins[lone] = lone if code is None else rb"\u%04x" % code
        return self._stand_ins[lone]


def scan(text: bytes, opening: str) -> dict[str, bytes]:
    """Split an object or array of any depth; elements are named by their places."""
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
        Each name and value of the outermost object or array: what it is, its start and its end.
    """
    # The brackets that are open, and where they are.
    open_marks: list[tuple[str, int]] = []
    place, position, end = _VALUE, 0, len(text.rstrip(b" \t\r\n"))
    while position < end:
        match = _TOKEN.match(text, position)
        kind = "" if match is None else match.lastgroup or ""
        start, position = (match.start(kind), match.end()) if match else (position, position)
        if kind == "mark":
            kind = chr(text[start])
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


def _after(kind: str, place: str, *, in_object: bool) -> str:
    if kind == ":":
        return _VALUE
    if kind == ",":
        return _NAME if in_object else _VALUE
    return _COLON if place in {_NAME, _FIRST_NAME} else _COMMA
