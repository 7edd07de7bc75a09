"""Splits any JSON object or array into its parts without decoding them, in linear time."""

from __future__ import annotations

from typing import Literal

import msgspec

from .json_text import ConcealedJson

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
