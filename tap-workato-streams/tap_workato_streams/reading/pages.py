"""The pages of a topic, and the bookmarks between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from datetime import datetime

    from ..event_streams.consume import Message


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
