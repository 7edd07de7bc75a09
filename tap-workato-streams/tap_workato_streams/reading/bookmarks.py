"""Topics, pages and bookmarks: where to start, also if the bookmark has expired."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from numbers import Number
from typing import Any, NamedTuple

from ..event_streams.consume import EARLIEST, Cursor, Message, parse_time, rfc3339
from ..event_streams.errors import SettingError


@dataclass(frozen=True)
class Topic:
    """A topic to read."""

    id: int
    name: str  # The name of the stream.
    start_from: str  # Earliest or latest, without a bookmark and start_date.
    start_date: str | None = None
    end_date: str | None = None
    payload_schema: Mapping[str, Any] | None = None
    is_declared: bool = True  # The schema is declared, not inferred from a sample.
    retention: float | None = None  # In seconds.
    key_properties: Sequence[str] | None = None  # Instead of the message id.

    def __str__(self) -> str:
        """Return the stream name and topic id for log lines and errors."""
        return f"{self.name} (topic {self.id})"


class Bookmark(NamedTuple):
    """The last message that was read, or only a time if the topic had no recent message."""

    message_id: str | None
    time: str | None


class Page(NamedTuple):
    """The `Messages` of a response, with what only a reader knows: where it is in the topic."""

    messages: list[Message]
    date: datetime | None = None
    position: Bookmark | None = None  # Where reading starts, if there are no messages.
    is_last: bool = False  # Everything has been read: the page is empty, or ends at end_date.

    def first(self, count: int) -> Page:
        """Return the page with only its first messages."""
        if count == len(self.messages):
            return self
        return self._replace(messages=self.messages[:count], is_last=False)

    def until(self, end: datetime) -> Page:
        """Return the page without messages that are newer than a time; they end the topic."""
        for number, message in enumerate(self.messages):
            if (time := parse_time(message.time)) and time > end:
                return self._replace(messages=self.messages[:number], is_last=True)
        return self

    def bookmark(self) -> Bookmark | None:
        """The bookmark after all messages of the page are written."""
        if not self.messages:
            return self.position
        return Bookmark(self.messages[-1].message_id, self.messages[-1].time)


def cursor_after(bookmark: Bookmark) -> Cursor:
    """Return the cursor for a bookmark: its message, or its time if it has no message."""
    if bookmark.message_id:
        return Cursor(after_message_id=bookmark.message_id)
    return Cursor(since_time=bookmark.time)


def start(topic: Topic, bookmark: Bookmark | None) -> tuple[Cursor | None, str]:
    """Return the first cursor (None: after the latest message), and its reason for the log."""
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


def replacement_cursor(policy: str, bookmark: Bookmark) -> Cursor | None:
    """Return the cursor that replaces an expired bookmark; None to fail.

    All remaining messages are newer than the expired one, so ``earliest`` skips none of them.
    ``since_time`` does the same if the bookmark has no time. Otherwise, it starts just before the
    time, because other messages of the same millisecond may be unread.
    """
    if policy == "fail":
        return None
    time = parse_time(bookmark.time)
    if policy == "since_time" and time:
        return Cursor(since_time=rfc3339(time - timedelta(milliseconds=1), "milliseconds"))
    return EARLIEST


Bookmarks = dict[str, Any]

# The keys that a bookmark of this tap may contain in addition to the position.
NO_POSITION = {
    "topic_id",
    "read_at",
    "columns",
    "declared",
    "replication_key",
    "starting_replication_value",
    "progress_markers",
}


def bookmarks_of(state: object, file: str = "state") -> Bookmarks:
    """Return the bookmarks of a state, which may be a STATE line or in Meltano's format."""
    if state == {}:
        return {}
    if not isinstance(state, dict):
        raise SettingError(f"{file}: {_kind(state)} is not a state; expected an object")
    if "bookmarks" in state:
        bookmarks = state["bookmarks"]
        if not isinstance(bookmarks, dict):
            raise SettingError(f"{file}: bookmarks is {_kind(bookmarks)}; expected an object")
        return deepcopy(bookmarks)
    for wrapper in ("value", "singer_state"):
        if wrapper in state:
            return bookmarks_of(state[wrapper], file)
    if not state.keys() & {"completed", "partial"}:
        raise SettingError(f"{file}: not a state, since it has no bookmarks")
    # In Meltano's format, the state of an interrupted run is newer.
    parts = [state.get("completed"), state.get("partial")]
    return {k: v for part in parts if part for k, v in bookmarks_of(part, file).items()}


def by_stream(bookmarks: Bookmarks, topics: Iterable[Topic], file: str = "state") -> Bookmarks:
    """Return the bookmark of each topic by stream name; it is found by topic id or by name."""
    topics = list(topics)
    counts = Counter(topic.id for topic in topics)
    found = {}
    for topic in topics:
        label = f"{topic}: the bookmark in {file}"
        name: str | None = topic.name
        if name in bookmarks:
            parse_bookmark(bookmarks[name], label)
            other = bookmarks[name].get("topic_id", topic.id)
            if other not in counts or (other != topic.id and counts[topic.id] > 1):
                raise SettingError(
                    f"{label} belongs to topic {other}; rename the stream, or remove the bookmark"
                )
            name = name if other == topic.id else name_of_topic(bookmarks, topic.id)
        elif counts[topic.id] == 1:
            name = name_of_topic(bookmarks, topic.id)
        if name in bookmarks:
            parse_bookmark(bookmarks[name], label)
            found[topic.name] = bookmarks[name]
    return found


def parse_bookmark(bookmark: object, subject: str = "bookmark") -> Bookmark | None:
    """Parse a bookmark in a state; return None if it contains no position."""
    if not isinstance(bookmark, dict):
        raise SettingError(f"{subject} is {_kind(bookmark)}; expected an object")
    message_id, time = bookmark.get("replication_key_value"), bookmark.get("message_time")
    key = bookmark.get("replication_key")
    if key not in {None, "message_id"}:
        raise SettingError(f"{subject} is for {key}, not for message_id: it belongs to another tap")
    if message_id is None and time is None:
        if bookmark.keys() <= NO_POSITION:
            return None
        raise SettingError(f"{subject} has no message_id: it belongs to another tap")
    if message_id is not None and not (isinstance(message_id, str) and message_id):
        raise SettingError(f"{subject} has a replication_key_value that is not a message id")
    if not isinstance(bookmark.get("topic_id", 0), Number):
        raise SettingError(f"{subject} has a topic_id that is not a number")
    if time is not None and parse_time(time) is None:
        raise SettingError(f"{subject} has a message_time that is not an RFC 3339 time")
    return Bookmark(message_id, time)


def name_of_topic(bookmarks: Mapping[str, Any], topic_id: int) -> str | None:
    """Return the stream name of a topic's bookmark, the newest one if there are several."""
    names = {
        name: time.timestamp() if (time := parse_time(bookmark.get("message_time"))) else 0.0
        for name, bookmark in bookmarks.items()
        if isinstance(bookmark, dict) and bookmark.get("topic_id") == topic_id
    }
    return max(names, key=names.__getitem__, default=None)


def _kind(value: object) -> str:
    """Return the kind of a JSON value that is not an object, without the value."""
    kinds = {type(None): "null", bool: "a boolean", str: "a string", list: "an array"}
    return kinds.get(type(value), "a number")
