"""The message key, which identifies a version of a row of a stream.

Its format is part of the public interface, because consumers compare keys.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(rb'"([0-9a-f]{32})-([0-9a-f]{32})"')
STREAM_DIGITS = 8


class Version(NamedTuple):
    """A version of a row.

    Attributes:
        row: A hash of the stream and the row's key, with 32 hexadecimal digits. The first 8 digits
            only depend on the stream.
        content: A hash of the content, with 32 hexadecimal digits. For a row without a key, both
            hashes are the same.
    """

    row: str
    content: str

    @classmethod
    def from_key(cls, text: bytes) -> Version | None:
        """Parse the JSON text of a message key; None for any other value."""
        found = _KEY.fullmatch(text)
        return cls(found[1].decode(), found[2].decode()) if found else None

    @property
    def key(self) -> str:
        """The message key."""
        return f"{self.row}-{self.content}"

    @property
    def stream(self) -> str:
        """The part of the key that all rows of a stream have in common."""
        return self.row[:STREAM_DIGITS]

    @property
    def is_keyed(self) -> bool:
        """Whether the row has a key, so that a later version replaces this one."""
        return self.row != self.content


# The version of messages without a key; it never matches a message in a topic.
NO_VERSION = Version("", "")
