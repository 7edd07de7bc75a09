"""Reads the bookmarks in a state file, and finds those of renamed streams by topic id."""

from __future__ import annotations

from collections import Counter
from copy import deepcopy
from numbers import Number
from typing import TYPE_CHECKING, Any

from ..event_streams.consume import parse_time
from ..event_streams.errors import SettingError
from .topic import Bookmark

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .topic import Topic

Bookmarks = dict[str, Any]

# The keys that a bookmark of this tap may contain in addition to the position.
NO_POSITION = frozenset(
    {"topic_id", "columns", "replication_key", "starting_replication_value", "progress_markers"}
)


def bookmarks_of(state: object, file: str = "state") -> Bookmarks:
    """Return the bookmarks of a state, which may be a STATE line or in Meltano's format.

    Args:
        state: The content of the state file.
        file: The name of the file, for errors.

    Raises:
        SettingError: The document is not a state.
    """
    for wrapper in ("value", "singer_state"):
        if isinstance(state, dict) and "bookmarks" not in state and wrapper in state:
            return bookmarks_of(state[wrapper], file)
    if isinstance(state, dict) and "bookmarks" not in state and {"completed", "partial"} & {*state}:
        # In Meltano's format, the state of an interrupted run is newer.
        parts = [state.get("completed"), state.get("partial")]
        return {k: v for part in parts if part for k, v in bookmarks_of(part, file).items()}
    if state == {}:
        return {}
    if not isinstance(state, dict):
        raise SettingError(f"{file}: {_kind(state)} is not a state; expected an object")
    if "bookmarks" not in state:
        raise SettingError(f"{file}: not a state, since it has no bookmarks")
    bookmarks = state["bookmarks"]
    if not isinstance(bookmarks, dict):
        raise SettingError(f"{file}: bookmarks is {_kind(bookmarks)}; expected an object")
    return deepcopy(bookmarks)


def assigned(bookmarks: Bookmarks, topics: Iterable[Topic], file: str = "state") -> Bookmarks:
    """Return the bookmark of each topic by stream name; it is found by topic id or by name.

    Raises:
        SettingError: A bookmark cannot be used, or belongs to another topic.
    """
    topics = list(topics)
    counts = Counter(topic.id for topic in topics)
    found = {}
    for topic in topics:
        label = f"{topic}: the bookmark in {file}"
        name: str | None = topic.name
        if name in bookmarks:
            parse_bookmark(bookmarks[name], label)
            other = bookmarks[name].get("topic_id", topic.id)
            if other not in {topic.id, *counts} or (other != topic.id and counts[topic.id] > 1):
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
    """Parse a bookmark in a state; return None if it contains no position.

    Raises:
        SettingError: The bookmark does not belong to this tap.
    """
    if not isinstance(bookmark, dict):
        raise SettingError(f"{subject} is {_kind(bookmark)}; expected an object")
    message_id, time = bookmark.get("replication_key_value"), bookmark.get("message_time")
    key = bookmark.get("replication_key")
    # An older version of this tap wrote the catalog's replication key next to a message id.
    if key not in {None, "message_id"} and time is None:
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
    names = [
        name
        for name, bookmark in bookmarks.items()
        if isinstance(bookmark, dict) and bookmark.get("topic_id") == topic_id
    ]
    return max(names, key=lambda name: _time(bookmarks[name]), default=None)


def _time(bookmark: Mapping[str, Any]) -> float:
    time = parse_time(bookmark.get("message_time"))
    return time.timestamp() if time else 0.0


def _kind(value: object) -> str:
    """Return the kind of a JSON value, without the value."""
    kinds: dict[object, str] = {
        type(None): "null",
        bool: "a boolean",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return kinds.get(type(value), "a number")
