"""A topic to read, its pages, and the bookmarks between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ..event_streams.consume import Message


@dataclass(frozen=True)
class Topic:
    """A topic to read.

    Args:
        id: The topic's id.
        name: The name of the stream.
        start_from: Where to start without a bookmark: earliest or latest.
        start_date: The time at which to start instead.
        payload_schema: The JSON Schema of the payload; None if unknown.
        is_declared: Whether the schema is declared rather than inferred from a sample.
        retention: The retention in seconds; None if unknown.
    """

    id: int
    name: str
    start_from: str
    start_date: str | None = None
    payload_schema: Mapping[str, Any] | None = None
    is_declared: bool = True
    retention: float | None = None

    def __str__(self) -> str:
        """Return the stream name and topic id for log lines and errors."""
        return f"{self.name} (topic {self.id})"


class Bookmark(NamedTuple):
    """The last message that was read, or only a time if the topic had no recent message."""

    message_id: str | None
    time: str | None


class Page(NamedTuple):
    """Messages in topic order, and the time by the service's clock.

    ``start`` is the bookmark of a page without messages, which only sets where reading starts.
    """

    messages: list[Message]
    date: datetime | None = None
    start: Bookmark | None = None

    def bookmark(self) -> Bookmark | None:
        """The bookmark after all messages of the page are written."""
        if not self.messages:
            return self.start
        return Bookmark(self.messages[-1].message_id, self.messages[-1].time)
