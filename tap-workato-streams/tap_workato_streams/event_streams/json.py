"""JSON text: split without decoding its values, or decoded without losing a digit."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, cast

import msgspec
from typing_extensions import Self, override

_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')
# Python's int() rejects integers with more digits.
MAX_INT_DIGITS = 4300
CHUNK_BYTES = 65_536


def check_utf8(text: bytes) -> None:
    """Raise ValueError if a text is not UTF-8; msgspec does not check what it does not decode."""
    if text.isascii():
        return
    # In parts, because decoded text may take four times as much memory.
    parts = (text[at : at + CHUNK_BYTES] for at in range(0, len(text), CHUNK_BYTES))
    try:
        for _ in codecs.iterdecode(parts, "utf-8"):
            pass
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None


def members(text: bytes) -> dict[str, bytes]:
    """Return the bytes of each value of a JSON object by its name; the last one of equal names.

    Raises ValueError, which never quotes the text, if it is not a JSON object in UTF-8.
    """
    try:
        return {name: bytes(value) for name, value in _decode_object(text).items()}
    except (msgspec.DecodeError, RecursionError):
        return dict(scan(text, "object"))


def elements(text: bytes) -> list[bytes]:
    """Return the bytes of each element of a JSON array; raises ValueError like ``members``."""
    try:
        return [bytes(value) for value in _decode_array(text)]
    except (msgspec.DecodeError, RecursionError):
        return [value for _, value in scan(text, "array")]


def scan(text: bytes, kind: Literal["object", "array"]) -> Iterator[tuple[str, bytes]]:
    """Split JSON that msgspec rejects: lone surrogates and very deep nesting.

    Yields the name and the value of each member; the names of elements are empty.
    """
    check_utf8(text)
    try:
        yield from _parts(text.decode(), kind)
    except json.JSONDecodeError as exc:
        raise ValueError(f"not valid JSON: {exc.msg} at character {exc.pos + 1}") from None


def _parts(text: str, kind: str) -> Iterator[tuple[str, bytes]]:
    opening, closing = "{}" if kind == "object" else "[]"
    at = _after(text, 0)
    if not text.startswith(opening, at):
        raise ValueError(f"not a JSON {kind}")
    name, at = "", _after(text, at, opening)
    has_more = not text.startswith(closing, at)
    while has_more:
        if kind == "object":
            _after(text, at, '"')
            name, at = _decoder.raw_decode(text, at)
            at = _after(text, at, ":")
        end = _end(text, at)
        yield name, text[at:end].encode()
        at = _after(text, end)
        if has_more := not text.startswith(closing, at):
            at = _after(text, at, ",")
    if (end := _after(text, at, closing)) != len(text):
        raise json.JSONDecodeError("Extra data", text, end)


def _after(text: str, at: int, char: str = "") -> int:
    """Return the position after a required character and the white space around it."""
    at = cast("re.Match[str]", _SPACE.match(text, at)).end()
    if not text.startswith(char, at):
        raise json.JSONDecodeError(f"Expecting {char}", text, at)
    return cast("re.Match[str]", _SPACE.match(text, at + len(char))).end()


def _end(text: str, at: int) -> int:
    """Return the end of the value that begins at a position."""
    try:
        return _decoder.raw_decode(text, at)[1]
    except RecursionError:
        depth = 0
    # Only the brackets are checked, because no parser accepts such a value.
    for token in _STRING_OR_BRACKET.finditer(text, at):
        depth += (token[0] in "[{") - (token[0] in "]}")
        if depth == 0:
            return token.end()
    raise json.JSONDecodeError("Unterminated value starting at", text, at)


def _reject(name: str) -> None:
    raise ValueError(f"not valid JSON: {name}")


_decoder = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_reject)


class Digits(Decimal):
    """A number that keeps its notation, such as 1E5 or 1.10."""

    _text: str

    def __new__(cls, text: str) -> Self:  # noqa: D102 - of Decimal
        try:
            number = super().__new__(cls, text)
        except InvalidOperation:  # the exponent is beyond what Decimal can hold
            number = super().__new__(cls, "Infinity")
        number._text = text
        return number

    @override
    def __str__(self) -> str:
        return self._text


def decode(text: str | bytes, number: type[Decimal] = Digits) -> Any:  # noqa: ANN401 - JSON
    """Decode JSON without losing a digit; RecursionError if it is nested too deeply.

    Numbers that are not a Python integer become a ``number``. With ``Digits``, the SDK's encoder
    also restores their notation.
    """

    def integer(digits: str) -> int | Decimal:
        is_exact = len(digits) <= MAX_INT_DIGITS and digits != "-0"
        return int(digits) if is_exact else number(digits)

    return json.loads(text, parse_float=number, parse_int=integer)
