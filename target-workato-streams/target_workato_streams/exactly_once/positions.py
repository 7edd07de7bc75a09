"""The topics' positions in the state, which covers all messages up to them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..event_streams.errors import EventStreamsError
from ..plugin.json import members

if TYPE_CHECKING:
    from collections.abc import Mapping

# SDK taps emit everything in `bookmarks`, under any name, but nothing outside of it.
BOOKMARKS = "bookmarks"
BOOKMARK = "target-workato-streams"


class Position(msgspec.Struct, frozen=True):
    """The last message of a topic that was read or acknowledged.

    Attributes:
        message_id: The id; None if the topic was empty.
        message_time: The time by the service's clock, for information; None if unknown.
    """

    message_id: str | None
    message_time: str | None = None


class ReturnedState(NamedTuple):
    """The content of the tap's first STATE message.

    Attributes:
        positions: The positions by topic id; None if the state has no positions.
        has_bookmarks: Whether the state has bookmarks of the tap.
    """

    positions: Mapping[int, Position] | None
    has_bookmarks: bool


_decode = msgspec.json.Decoder(dict[int, Position]).decode


def read_state(state: bytes) -> ReturnedState:
    """Read the positions from the value of a STATE message.

    Args:
        state: The value, a JSON object.

    Raises:
        EventStreamsError: The positions or the bookmarks are malformed.
    """
    bookmarks = _bookmarks(members(state))
    text = bookmarks.pop(BOOKMARK, None)
    try:
        positions = None if text is None else _decode(text)
    except msgspec.DecodeError:
        raise EventStreamsError(
            "the state's bookmark of target-workato-streams is malformed; remove it from the "
            "state, or restore an earlier state"
        ) from None
    return ReturnedState(positions, bool(bookmarks))


def with_positions(state: bytes, positions: Mapping[int, Position]) -> bytes:
    """Add positions to the value of a STATE message; everything else is unchanged.

    Args:
        state: The value, a JSON object.
        positions: The positions by topic id.

    Raises:
        EventStreamsError: The state's bookmarks are not an object.
    """
    if not positions:
        return state
    fields = members(state)
    bookmarks = _bookmarks(fields)
    bookmarks[BOOKMARK] = msgspec.json.encode(dict(sorted(positions.items())))
    fields[BOOKMARKS] = _object(bookmarks)
    return _object(fields)


def without_positions(state: bytes) -> bytes:
    """Remove the positions from the value of a STATE message; everything else is unchanged.

    A run without `exactly_once` does not update the positions, so a later run would treat its
    messages as not covered, and equal records as duplicates.
    """
    if BOOKMARK.encode() not in state:
        return state
    fields = members(state)
    text = fields.get(BOOKMARKS, b"")
    bookmarks = members(text) if text.startswith(b"{") else {}
    if bookmarks.pop(BOOKMARK, None) is None:
        return state
    fields[BOOKMARKS] = _object(bookmarks)
    return _object(fields)


def _bookmarks(fields: Mapping[str, bytes]) -> dict[str, bytes]:
    text = fields.get(BOOKMARKS, b"null")
    if text == b"null":
        return {}
    if not text.startswith(b"{"):
        raise EventStreamsError(
            "the state's bookmarks are not an object, so they cannot contain the positions of "
            "exactly_once; use a tap that follows the Singer specification"
        )
    return members(text)


def _object(fields: Mapping[str, bytes]) -> bytes:
    return b"{%b}" % b",".join(
        b"%b:%b" % (json.dumps(name).encode(), text) for name, text in fields.items()
    )
