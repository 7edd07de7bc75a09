"""The message key: which version of which row of which stream a message is.

Its format is part of the public interface: consumers compare it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
STREAM_DIGITS = 8


class Version(NamedTuple):
    """A version of a row.

    Attributes:
        row: 32 hexadecimal digits: a hash of the stream and the row's key. The first 8 are those of
            the stream alone.
        content: 32 hexadecimal digits: a hash of the content. Of a row without a key, both are the
            same.
    """

    row: str
    content: str

    @property
    def key(self) -> str:
        """The message key."""
        return f"{self.row}-{self.content}"

    @property
    def stream(self) -> str:
        """What the rows of one stream have in common."""
        return self.row[:STREAM_DIGITS]

    @property
    def is_keyed(self) -> bool:
        """Whether the row has a key, so that a later version replaces this one."""
        return self.row != self.content


# That of a message without a key: no message of a topic has it.
NO_VERSION = Version("", "")


def version_of(key: object) -> Version | None:
    """Parse a message key; None for any other value."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return None
    row, _, content = key.partition("-")
    return Version(row, content)
