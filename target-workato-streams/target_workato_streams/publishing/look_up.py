"""Reads a destination topic: the keys of our messages after a position, and the topic's end."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import msgspec

from ..event_streams.consume import (
    EARLIEST,
    Cursor,
    CursorExpired,
    consume_again,
    newest_page,
    parse_time,
    recent_page,
    rfc3339,
)
from ..event_streams.errors import EventStreamsError, RequestRejected
from ..exactly_once.positions import Position
from ..message_key import read_version

if TYPE_CHECKING:
    from datetime import datetime

    from ..event_streams.consume import Messages
    from ..message_key import RowVersion

# The maximum difference between the service's clocks. The Date header is in whole seconds.
CLOCK_TOLERANCE = timedelta(seconds=6)
PAGE_SIZE = 50
FORBIDDEN = 403


class Client(Protocol):
    """Consumes one topic, like `ConsumeClient`."""

    def consume(self, cursor: Cursor, *, batch_size: int) -> Messages: ...  # noqa: D102 - see there


@dataclass
class LookUp:
    """The result of reading a topic.

    Attributes:
        position: The last message that was read.
        versions: The versions of our messages, in topic order.
        others: The number of messages of other producers.
        requests: The number of requests.
        expired: Whether the position had expired, so that reading started at the earliest message.
    """

    position: Position
    versions: list[RowVersion] = field(default_factory=list)
    others: int = 0
    requests: int = 0
    expired: bool = False


class KeyConsumer:
    """Consumes one topic, and reads its message keys; not thread-safe.

    Args:
        client: Consumes the topic.
        label: The topic and its streams, for errors.
        key_field: The field of a payload that contains the message key.
    """

    def __init__(self, client: Client, label: str, key_field: str) -> None:
        self._client = client
        self._label = label
        self._key_field = key_field
        self._mark = msgspec.json.encode(key_field)[1:-1]
        self._found = LookUp(Position(None))

    def read_after(self, position: Position) -> LookUp:
        """Read the messages after a position, up to the first one that is newer than the look-up.

        Raises:
            ServiceError: The topic cannot be read.
        """
        self._found = found = LookUp(position)
        try:
            page = self._after(position)
        except CursorExpired:
            found.expired = True
            found.position = Position(None)
            page = self._consume(EARLIEST)
        self._read_on(page, found)
        return found

    def find_end(self) -> LookUp:
        """Find the end of the topic without reading the whole topic.

        Raises:
            ServiceError: The topic cannot be read.
        """
        self._found = found = LookUp(Position(None))
        if page := self._near_the_end():
            self._read_on(page, found)
        found.versions = []
        return found

    def _near_the_end(self) -> Messages | None:
        """Find a page shortly before the end that is not empty; None if there is none."""
        since, page = recent_page(self._since)
        if not page.messages and not self._consume(EARLIEST, 1).messages:
            return None
        return newest_page(self._since, PAGE_SIZE, since, page)[1]

    def _read_on(self, page: Messages, found: LookUp) -> None:
        # Without the service's time, only an empty page shows the end, since the local clock may be
        # slow.
        end = page.date + CLOCK_TOLERANCE if page.date else None
        while page.messages:
            for message in page.messages:
                if version := self._version(bytes(message.payload)):
                    found.versions.append(version)
                else:
                    found.others += 1
            last = page.messages[-1]
            found.position = Position(last.message_id, last.time)
            if end is not None and _is_after(last.time, end):
                break
            page = self._after(found.position)
            if page.messages and page.messages[-1].message_id == last.message_id:
                raise EventStreamsError(
                    f"{self._label}: the service returned message {last.message_id} again after it "
                    "was read"
                )

    def _version(self, payload: bytes) -> RowVersion | None:
        # Most messages of other producers contain neither the name nor an escape.
        may_be_ours = self._mark in payload or b"\\" in payload
        return read_version(payload, self._key_field) if may_be_ours else None

    def _after(self, position: Position) -> Messages:
        cursor = Cursor(after_message_id=position.message_id)
        try:
            return self._consume(cursor)
        except RequestRejected as rejection:
            return consume_again(cursor, PAGE_SIZE, rejection, self._consume)

    def _since(self, time: datetime) -> Messages:
        return self._consume(Cursor(since_time=rfc3339(time, "milliseconds")))

    def _consume(self, cursor: Cursor, batch_size: int = PAGE_SIZE) -> Messages:
        self._found.requests += 1
        try:
            return self._client.consume(cursor, batch_size=batch_size)
        except RequestRejected as exc:
            if exc.status != FORBIDDEN:
                raise
            raise EventStreamsError(
                f"{self._label}: HTTP 403 ({exc.reason}) when consuming; exactly_once reads the "
                "topics that it publishes to: give the API client of api_token permission to "
                "consume from this topic, too"
            ) from exc


def _is_after(time: str, end: datetime) -> bool:
    published = parse_time(time)
    return published is not None and published >= end
