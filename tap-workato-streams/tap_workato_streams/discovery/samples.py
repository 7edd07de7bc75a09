"""Samples the oldest and the newest messages of a topic."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import EARLIEST, Cursor, parse_time, rfc3339

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..event_streams.consume import ConsumeClient, Message

SAMPLE_SIZE = 50
# The API cannot read backwards: look for the newest messages in the last minutes, and further back
# only if there are none.
LOOK_BACKS = (timedelta(minutes=5), timedelta(days=1))


def sample(client: ConsumeClient) -> list[bytes]:
    """Read the payloads of a topic's oldest page and of its newest, without overlap.

    This takes two requests, or up to four if the topic has been idle for long.

    Args:
        client: The client that consumes the topic.

    Raises:
        ServiceError: A request failed.
    """
    page = client.consume(EARLIEST, batch_size=SAMPLE_SIZE)
    messages = {message.message_id: message for message in page.messages}
    if page.messages:
        for cursor in _cursors(page.messages, page.date or datetime.now(timezone.utc)):
            newest = client.consume(cursor, batch_size=SAMPLE_SIZE).messages
            messages |= {message.message_id: message for message in newest}
            if newest:
                break
    return [bytes(message.payload) for message in messages.values()]


def _cursors(oldest: list[Message], now: datetime) -> Iterator[Cursor]:
    """Yield the cursors of a search for the newest messages, which starts after the oldest page."""
    end = parse_time(oldest[-1].time)
    for look_back in LOOK_BACKS:
        since = now - look_back
        if end is None or since <= end:
            break
        yield Cursor(since_time=rfc3339(since))
    yield Cursor(after_message_id=oldest[-1].message_id)
