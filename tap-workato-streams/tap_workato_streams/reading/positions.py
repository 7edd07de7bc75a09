"""Determines the positions at which to start, to resume, and to continue after an expiry."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ..event_streams.consume import EARLIEST, Cursor, parse_time, rfc3339

if TYPE_CHECKING:
    from datetime import datetime

    from .topic import Bookmark, Topic

# Messages of a batch have the same millisecond, and `since_time` only returns newer messages.
JUST_BEFORE = timedelta(milliseconds=1)
# The share of the retention after which a bookmark is close to expiring.
NEAR_RETENTION = 0.8


def cursor_after(bookmark: Bookmark) -> Cursor:
    """Return the cursor for a bookmark: its message, or its time if it has no message."""
    if bookmark.message_id:
        return Cursor(after_message_id=bookmark.message_id)
    return Cursor(since_time=bookmark.time)


def start(topic: Topic, bookmark: Bookmark | None) -> tuple[Cursor | None, str]:
    """Return the first cursor, and where reading starts and why, for the log.

    The cursor is None to start after the latest message, for which the consumer has to search.
    """
    if bookmark and bookmark.message_id:
        time = f" of {bookmark.time}" if bookmark.time else ""
        line = f"resuming after message {bookmark.message_id}{time} (bookmark)"
        return cursor_after(bookmark), line
    if bookmark:
        return cursor_after(bookmark), f"resuming at {bookmark.time} (bookmark)"
    if topic.start_date:
        return Cursor(since_time=topic.start_date), f"starting at {topic.start_date} (start_date)"
    if topic.start_from == "latest":
        return None, "starting after the latest message (no bookmark, start_from is latest)"
    return EARLIEST, "starting at the earliest message (no bookmark, start_from is earliest)"


def cursor_instead(policy: str, bookmark: Bookmark) -> Cursor | None:
    """Return the cursor that replaces an expired bookmark; None to fail.

    All remaining messages are newer than the expired one, so ``earliest`` skips none of them.
    ``since_time`` does the same if the bookmark has no time. Otherwise, it starts just before the
    time, because other messages with the same time may be unread.
    """
    if policy == "fail":
        return None
    time = parse_time(bookmark.time)
    if policy == "since_time" and time:
        return Cursor(since_time=rfc3339(time - JUST_BEFORE, "milliseconds"))
    return EARLIEST


def is_near_retention(topic: Topic, bookmark: Bookmark, now: datetime) -> bool:
    """Return whether a bookmark is about to expire; False if the retention is unknown."""
    since = parse_time(bookmark.time)
    if since is None or not topic.retention:
        return False
    return (now - since).total_seconds() > NEAR_RETENTION * topic.retention
