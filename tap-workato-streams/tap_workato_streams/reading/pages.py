"""A page of messages, split into its messages without decoding their payloads."""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from datetime import datetime


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of a topic; its payload is the publisher's own JSON text, as bytes."""

    message_id: str
    payload: msgspec.Raw
    time: str


class Bookmark(NamedTuple):
    """The place after which reading goes on: a message, or a time where none has come yet."""

    message_id: str | None
    time: str | None


class Page(NamedTuple):
    """What one request brought: messages in the API's order, and the time by the service's clock.

    ``start`` is the bookmark of a page that only says where reading begins.
    """

    messages: list[Message]
    date: datetime | None = None
    start: Bookmark | None = None

    def bookmark(self) -> Bookmark | None:
        """Where reading goes on once all messages of the page are written."""
        if not self.messages:
            return self.start
        return Bookmark(self.messages[-1].message_id, self.messages[-1].time)


class _Body(msgspec.Struct, frozen=True):
    messages: list[Message]


_decode = msgspec.json.Decoder(_Body).decode
_MARKS = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[\]{},]')


def split(body: bytes) -> list[Message]:
    """Split the body of a consume answer into messages.

    Args:
        body: The body as it came.

    Returns:
        The messages, each payload byte for byte as in the body.

    Raises:
        ValueError: The body is not UTF-8, not JSON, or not a page of messages.
    """
    body.decode()  # msgspec takes what it does not look into, bad UTF-8 included
    try:
        return _decode(body).messages
    except (msgspec.DecodeError, RecursionError):
        return _split_by_marks(body)


def _split_by_marks(body: bytes) -> list[Message]:
    """Split what msgspec refuses and JSON allows: lone surrogates and very deep nesting.

    It looks for strings, brackets and commas alone, so that nothing in a payload can make the
    other messages of the page unreadable.
    """
    # What is too deep to be checked is not held back for that. Numbers stay text: one of more than
    # 4,300 digits is one that int() refuses.
    with contextlib.suppress(RecursionError):
        json.loads(body, parse_int=str, parse_float=str)
    try:
        return [_message(_members(part)) for part in _parts(_members(body)["messages"], b"[")]
    except KeyError as exc:
        raise ValueError("not a page of messages") from exc


def _message(members: dict[str, bytes]) -> Message:
    return Message(
        message_id=msgspec.json.decode(members["message_id"], type=str),
        payload=msgspec.Raw(members["payload"]),
        time=msgspec.json.decode(members["time"], type=str),
    )


def _members(text: bytes) -> dict[str, bytes]:
    members = {}
    for part in _parts(text, b"{"):
        key = _MARKS.match(part)
        if key is None:
            raise ValueError("not an object")
        _, _, value = part[key.end() :].partition(b":")
        members[json.loads(key.group())] = value.strip()
    return members


def _parts(text: bytes, opening: bytes) -> list[bytes]:
    """Split the inside of a JSON array or object at its own commas."""
    if not text.lstrip().startswith(opening):
        raise ValueError("not a page of messages")
    parts = []
    depth = start = 0
    for mark in _MARKS.finditer(text):
        sign = mark.group()
        if sign in {b"[", b"{"}:
            depth += 1
            start = mark.end() if depth == 1 else start
        elif sign == b"," and depth == 1:
            parts.append(text[start : mark.start()])
            start = mark.end()
        elif sign in {b"]", b"}"}:
            depth -= 1
            if depth == 0:
                parts.append(text[start : mark.start()])
                break
    if depth:
        raise ValueError("an array or object that does not end")
    return [part.strip() for part in parts if part.strip()]
