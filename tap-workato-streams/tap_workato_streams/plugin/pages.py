"""Splits a page of messages without decoding their payloads."""

from __future__ import annotations

import msgspec

from ..event_streams.consume import Message
from .json_scanner import elements, members
from .json_text import check_utf8


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
