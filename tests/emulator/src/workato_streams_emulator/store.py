"""The storage of topics and messages in SQLite, and the message ids."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

# Times are strings in a format that sorts. Without a rowid, a row stores its payload next to its
# key, so that a page of messages is one sequential read; SQLite's page size is large enough to
# keep typical payloads in the row.
LAYOUT = """
PRAGMA page_size = 16384;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = OFF;
CREATE TABLE IF NOT EXISTS topics (id INTEGER PRIMARY KEY AUTOINCREMENT, topic BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS messages (
    topic_id INTEGER NOT NULL, position INTEGER NOT NULL, message_id TEXT NOT NULL,
    time TEXT NOT NULL, payload BLOB NOT NULL, PRIMARY KEY (topic_id, position)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS messages_by_time ON messages (topic_id, time);
CREATE TABLE IF NOT EXISTS sequence (position INTEGER NOT NULL, id_key INTEGER NOT NULL);
"""
PAGE = """
SELECT message_id, time, payload FROM messages
WHERE topic_id = ? AND position > ? AND position < ? AND time > ? ORDER BY position LIMIT ?
"""
FIND = "SELECT 1 FROM messages WHERE topic_id = ? AND position = ? AND time > ?"
FIRST = """
SELECT position FROM messages WHERE topic_id = ? AND time > ? ORDER BY time, position LIMIT 1
"""
# Message ids are opaque: neither their length nor their sort order reflects the topic order, and no
# two workspaces have the same ids, so a bookmark of another one has expired.
ALPHABET = "mUk5Z1EqatyliD92vOwWsFCRV7QMrbNH6YohKXSJTp3ABfcnG4LxgI0edPzj8u"
MODULUS = 2**32
# Odd, so that the multiplication is a bijection; near the golden ratio, so that consecutive
# positions give very different ids.
MULTIPLIER = 2_654_435_761
INVERSE = pow(MULTIPLIER, -1, MODULUS)
DIGITS = {character: value for value, character in enumerate(ALPHABET)}


# A position after that of any message.
END = MODULUS
# The id, time and payload of a message.
Row = tuple[str, str, bytes]


class StoredMessage(msgspec.Struct, frozen=True):
    """A message of a topic; `payload` is exactly what was published."""

    message_id: str
    time: str
    payload: bytes


class Topic(msgspec.Struct, kw_only=True):
    """A topic in the Developer API; `retention` in seconds, `schema` in Workato's format."""

    id: int
    name: str
    description: str = ""
    retention: int = 604_800
    schema: list[dict[str, Any]] = []


class Store:
    """The topics and messages of a workspace, in memory or in the file `database`.

    Positions number all messages of the workspace from 1 and are never reused, so the id of an
    expired message, or of another topic's message, is never valid.
    """

    def __init__(self, database: str = ":memory:") -> None:
        self._sqlite = sqlite3.connect(database, isolation_level=None)
        self._sqlite.executescript(LAYOUT)
        self._open()

    def _open(self) -> None:
        self.topics: dict[int, Topic] = {}
        for (stored,) in self._sqlite.execute("SELECT topic FROM topics"):
            topic = msgspec.json.decode(stored, type=Topic)
            self.topics[topic.id] = topic
        found = self._sqlite.execute("SELECT position, id_key FROM sequence").fetchone()
        if not found:
            found = 0, secrets.randbelow(MODULUS)
            self._sqlite.execute("INSERT INTO sequence VALUES (?, ?)", found)
        self.last_position, self._id_key = found

    def clear(self) -> None:
        """Remove everything; what follows is another workspace."""
        self._sqlite.executescript(
            "DELETE FROM topics; DELETE FROM messages; DELETE FROM sequence;"
            "DELETE FROM sqlite_sequence;"
        )
        self._open()

    def add_topic(self, name: str, *, topic_id: int | None = None, **fields: Any) -> Topic:  # noqa: ANN401
        """Create a topic, with the next free id unless `topic_id` is given.

        Raises:
            ValueError: A topic with this id exists.
        """
        if topic_id in self.topics:
            raise ValueError(f"There is a topic {topic_id} already")
        made = self._sqlite.execute("INSERT INTO topics VALUES (?, '')", (topic_id,))
        topic = Topic(id=int(made.lastrowid or 0), name=name, **fields)
        self.keep_topic(topic)
        return topic

    def keep_topic(self, topic: Topic) -> None:
        """Save the changes of a topic."""
        self.topics[topic.id] = topic
        self._sqlite.execute(
            "UPDATE topics SET topic = ? WHERE id = ?", (msgspec.json.encode(topic), topic.id)
        )

    def delete_topic(self, topic_id: int) -> None:
        """Delete a topic and its messages."""
        del self.topics[topic_id]
        self._sqlite.execute("DELETE FROM topics WHERE id = ?", (topic_id,))
        self.drop(topic_id, self.last_position)

    def append(self, topic_id: int, payloads: Sequence[bytes], times: Sequence[str]) -> list[str]:
        """Store messages at the end of a topic, all or none, and return their ids."""
        first = self.last_position + 1
        ids = [self.message_id(position) for position in range(first, first + len(payloads))]
        rows = zip(range(first, first + len(payloads)), ids, times, payloads, strict=True)
        self._sqlite.execute("BEGIN")
        with self._sqlite:
            self._sqlite.executemany(
                "INSERT INTO messages VALUES (?, ?, ?, ?, ?)", ((topic_id, *row) for row in rows)
            )
            self._sqlite.execute("UPDATE sequence SET position = position + ?", (len(payloads),))
        self.last_position += len(payloads)
        return ids

    def page(
        self, topic_id: int, *, after: int, newer_than: str, limit: int, before: int = END
    ) -> list[Row]:
        """Return the next messages of a topic; `limit` -1 means all."""
        return self._sqlite.execute(PAGE, (topic_id, after, before, newer_than, limit)).fetchall()

    def find(self, topic_id: int, text: str, *, newer_than: str) -> int | None:
        """Return the position of a message, or None if it is not in the topic."""
        position = self.position_of(text)
        found = self._sqlite.execute(FIND, (topic_id, position, newer_than)).fetchone()
        return position if found else None

    def start_of(self, topic_id: int, since: str) -> int:
        """Return the position just before the first message that is newer than `since`."""
        first = self._sqlite.execute(FIRST, (topic_id, since)).fetchone()
        return int(first[0]) - 1 if first else self.last_position

    def drop(self, topic_id: int, up_to: int) -> None:
        """Remove the messages of a topic up to and including a position."""
        self._sqlite.execute(
            "DELETE FROM messages WHERE topic_id = ? AND position <= ?", (topic_id, up_to)
        )

    def message_id(self, position: int) -> str:
        """Return the id, such as `A1BRi`, of the message at a position in the workspace, from 1."""
        rest = position * MULTIPLIER % MODULUS ^ self._id_key
        characters = []
        while rest:
            rest, digit = divmod(rest, len(ALPHABET))
            characters.append(ALPHABET[digit])
        return "A" + "".join(characters)

    def position_of(self, text: str) -> int | None:
        """Return the position that belongs to an id, or None if `text` is not an id."""
        value = 0
        for character in reversed(text[1:]):
            digit = DIGITS.get(character)
            if digit is None or value >= MODULUS:
                return None
            value = value * len(ALPHABET) + digit
        position = (value ^ self._id_key) * INVERSE % MODULUS
        return position if self.message_id(position) == text else None
