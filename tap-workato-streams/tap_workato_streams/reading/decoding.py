"""Decodes messages, for stream maps, flattening and selection."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from ..event_streams.consume import Message
    from .topic import Topic

# Python's int() rejects integers with more digits; a Decimal keeps them all, and the sign of -0.
MAX_INT_DIGITS = 4300


def decoded_record(message: Message, topic: Topic, members: bytes) -> dict[str, Any]:
    """Return the record of a message with these members after ``time``.

    Raises:
        EventStreamsError: The payload is nested too deeply.
    """
    try:
        decoded = json.loads(b"{%b}" % members, parse_float=Decimal, parse_int=_integer)
    except RecursionError:
        raise EventStreamsError(
            f"{topic}: message {message.message_id} is nested too deeply to be decoded; "
            "select all properties and use neither stream maps nor flattening to emit it as is",
        ) from None
    return {
        "message_id": message.message_id,
        "topic_id": topic.id,
        "time": message.time,
        **decoded,
    }


def _integer(digits: str) -> int | Decimal:
    return Decimal(digits) if len(digits) > MAX_INT_DIGITS or digits == "-0" else int(digits)
