"""Splits JSON without decoding its values, including JSON that msgspec does not handle."""

from __future__ import annotations

import re
import secrets
from typing import Literal, TypeVar

import msgspec

from ..event_streams.consume import Message

T = TypeVar("T")

# Far below Python's recursion limit, which msgspec applies to nesting.
MAX_DEPTH = 200
_HIGH, _LOW = rb"[89abAB][0-9a-fA-F]{2}", rb"[c-fC-F][0-9a-fA-F]{2}"
_LONE_SURROGATE = re.compile(
    rb"\\u([dD](?:%b(?!\\u[dD]%b)|%b(?<!\\u[dD]%b\\u[dD]%b)))" % (_HIGH, _LOW, _LOW, _HIGH, _LOW)
)
_STRING_OR_BRACKET = re.compile(rb'"[^"]*"|[\[\]{}]')
_CHECK = msgspec.json.Decoder(msgspec.Raw).decode


def check_utf8(text: bytes) -> None:
    """Check the encoding, because msgspec does not check text that it does not decode.

    Raises:
        ValueError: The text is not UTF-8.
    """
    if not text.isascii():
        try:
            text.decode()
        except UnicodeDecodeError as exc:
            raise ValueError(f"not UTF-8 at byte {exc.start + 1}") from None


class ConcealedJson:
    """JSON text in which lone surrogates and deep values are replaced, so that msgspec accepts it.

    A random mark, which the text cannot contain, takes their place until they are restored.

    Attributes:
        is_changed: Whether anything was replaced.

    Raises:
        ValueError: The text is not UTF-8, or contains NUL.
    """

    def __init__(self, text: bytes) -> None:
        check_utf8(text)
        if b"\0" in text:
            raise ValueError(f"not valid JSON: NUL at byte {text.index(0) + 1}")
        self._mark = secrets.token_hex(8)
        mark = self._mark.encode()
        self._surrogate = re.compile(rb"%b([dD][0-9a-fA-F]{3})" % mark)
        self._deep_value = re.compile(rb'"%b:([0-9]+)"' % mark)
        self._deep_values: list[bytes] = []
        # An escaped backslash does not begin another escape.
        unescaped = text.replace(rb"\\", b"\0\0")
        self._text = _LONE_SURROGATE.sub(rb"%b\1" % mark, unescaped)
        self.is_changed = self._text != unescaped

    def decode(self, decoder: msgspec.json.Decoder[T]) -> T:
        """Decode the text, whose parts must then be restored.

        Raises:
            msgspec.DecodeError: The text is not JSON, or has another type.
        """
        try:
            return decoder.decode(self._text.replace(b"\0\0", rb"\\"))
        except RecursionError:
            return decoder.decode(self._without_deep_values().replace(b"\0\0", rb"\\"))

    def restored(self, part: msgspec.Raw) -> bytes:
        """Return a part of the original text."""
        text = self._deep_value.sub(lambda match: self._deep_values[int(match[1])], bytes(part))
        return self._surrogate.sub(rb"\\u\1", text).replace(b"\0\0", rb"\\")

    def restored_name(self, name: str) -> str:
        """Return an original name from a decoded one."""
        return re.sub(f"{self._mark}(....)", lambda match: chr(int(match[1], 16)), name)

    def _without_deep_values(self) -> bytes:
        """Check the values at each multiple of ``MAX_DEPTH``, and replace them."""
        self.is_changed = True
        text = self._text
        # The whole text and its open values at these depths: where each begins, and its parts.
        open_values: list[tuple[int, list[bytes]]] = [(0, [])]
        depth = done = 0
        for match in _STRING_OR_BRACKET.finditer(text.replace(rb"\"", b"\0\0")):
            if match[0] in b"[{":
                depth += 1
                if depth % MAX_DEPTH == 0:
                    open_values[-1][1].append(text[done : match.start()])
                    done = match.start()
                    open_values.append((done, []))
            elif match[0] in b"]}":
                if depth % MAX_DEPTH == 0 and len(open_values) > 1:
                    begin, parts = open_values.pop()
                    parts.append(text[done : match.end()])
                    _CHECK(b"".join(parts).replace(b"\0\0", rb"\\"))
                    done = match.end()
                    is_outermost = len(open_values) == 1
                    stand_in = self._stand_in(text[begin:done]) if is_outermost else b"0"
                    open_values[-1][1].append(stand_in)
                depth -= 1
        if len(open_values) > 1:
            raise msgspec.DecodeError("Input data was truncated")
        return b"".join([*open_values[0][1], text[done:]])

    def _stand_in(self, deep_value: bytes) -> bytes:
        self._deep_values.append(deep_value)
        return b'"%b:%d"' % (self._mark.encode(), len(self._deep_values) - 1)


_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ARRAY = msgspec.json.Decoder(list[msgspec.Raw])


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
        return scan(text, "object")


def elements(text: bytes) -> list[bytes]:
    """Split a JSON array into its elements.

    Raises:
        ValueError: The text is not a JSON array in UTF-8; the reason never quotes the text.
    """
    try:
        return [bytes(value) for value in _ARRAY.decode(text)]
    except (msgspec.DecodeError, RecursionError):
        return list(scan(text, "array").values())


def scan(text: bytes, kind: Literal["object", "array"]) -> dict[str, bytes]:
    """Split an object or array that msgspec may reject; the names of elements are their indices."""
    json = ConcealedJson(text)
    try:
        if kind == "array":
            parts = json.decode(_ARRAY)
            return {str(index): json.restored(part) for index, part in enumerate(parts)}
        found = json.decode(_OBJECT)
    except msgspec.ValidationError:
        raise ValueError(f"not a JSON {kind}") from None
    except msgspec.DecodeError as exc:
        reason = str(exc).removeprefix("JSON is malformed: ")
        if json.is_changed:
            reason = reason.partition(" (byte ")[0]
        raise ValueError(f"not valid JSON: {reason}") from None
    return {json.restored_name(name): json.restored(part) for name, part in found.items()}


class _Body(msgspec.Struct, frozen=True):
    messages: list[Message]


_decode = msgspec.json.Decoder(_Body).decode


def split_page(body: bytes) -> list[Message]:
    """Split the body of a consume response into messages.

    Args:
        body: The body.

    Returns:
        The messages with unchanged payloads.

    Raises:
        ValueError: The body is not UTF-8, not JSON, or not a page of messages.
    """
    check_utf8(body)
    try:
        return _decode(body).messages
    except (msgspec.DecodeError, RecursionError):
        return _split_slowly(body)


def _split_slowly(body: bytes) -> list[Message]:
    """Split a page that msgspec rejects because of lone surrogates or very deep nesting."""
    try:
        return [_message(members(part)) for part in elements(members(body)["messages"])]
    except KeyError as exc:
        raise ValueError("not a page of messages") from exc


def _message(parts: dict[str, bytes]) -> Message:
    return Message(
        message_id=msgspec.json.decode(parts["message_id"], type=str),
        payload=msgspec.Raw(parts["payload"]),
        time=msgspec.json.decode(parts["time"], type=str),
    )
