"""Where to start reading a topic, and where to go on when a bookmark has expired."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from .client import EARLIEST, Cursor
from .pages import Bookmark

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..discovery.topics import Topic

# Messages of one batch share a millisecond, and `since_time` brings what is newer than it.
JUST_BEFORE = timedelta(milliseconds=1)
# The share of the retention after which a bookmark is said to be in danger.
NEAR_RETENTION = 0.8


def bookmark_of(state: Mapping[str, Any]) -> Bookmark | None:
    """The bookmark that a stream's state holds, None where there is none."""
    if state.get("replication_key", "message_id") != "message_id":
        return None  # the state of another tap, whose bookmark is no message id
    bookmark = Bookmark(state.get("replication_key_value"), state.get("message_time"))
    return bookmark if any(bookmark) else None


def cursor_after(bookmark: Bookmark) -> Cursor:
    """Where to go on after a bookmark: after its message, or since its time where it has none."""
    if bookmark.message_id:
        return Cursor(after_message_id=bookmark.message_id)
    return Cursor(since_time=bookmark.time)


def first_cursor(topic: Topic, bookmark: Bookmark | None) -> Cursor:
    """Where reading starts: after the bookmark of the last run, else where the settings say.

    Of ``start_from`` only the earliest is a cursor; the latest has to be looked for.
    """
    if bookmark:
        return cursor_after(bookmark)
    return Cursor(since_time=topic.start_date) if topic.start_date else EARLIEST


def is_at_latest(topic: Topic, bookmark: Bookmark | None) -> bool:
    """Whether reading starts behind the latest message."""
    return bookmark is None and topic.start_date is None and topic.start_from == "latest"


def cursor_instead(policy: str, bookmark: Bookmark) -> Cursor | None:
    """Where to go on in place of a bookmark that has expired; None to stop.

    What is left of the topic is newer than what has expired, so ``earliest`` misses nothing that
    still exists. ``since_time`` does the same where the bookmark holds no time. It begins just
    before that time: other messages of the same millisecond may not have been read.
    """
    if policy == "fail":
        return None
    time = parse_time(bookmark.time)
    if policy == "since_time" and time:
        return Cursor(since_time=rfc3339(time - JUST_BEFORE, "milliseconds"))
    return EARLIEST


def is_near_retention(topic: Topic, bookmark: Bookmark | None, now: datetime) -> bool:
    """Whether a bookmark is about to expire, as far as the topic's retention is known."""
    since = parse_time(bookmark.time) if bookmark else None
    if since is None or not topic.retention:
        return False
    return (now - since).total_seconds() > NEAR_RETENTION * topic.retention


def parse_time(text: str | None) -> datetime | None:
    """Read an RFC 3339 time with a time zone; None for any other text."""
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo else None


def rfc3339(time: datetime, timespec: str = "seconds") -> str:
    """Write a time as the API reads it, cut to the second or to what ``timespec`` says."""
    return time.astimezone(timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")
