"""What a message key says: which version of which row of which stream a message is."""

from __future__ import annotations

import re
from typing import NamedTuple

# `publishing/message_key.py` writes this form.
_KEY = re.compile(r"[0-9a-f]{32}-[0-9a-f]{32}")
STREAM_DIGITS = 8


class Version(NamedTuple):
    """A version of a row.

    Attributes:
        row: The hash of the stream and the row's key.
        content: The hash of the row's content; that of a row without a key is its `row`, too.
    """

    row: str
    content: str

    @property
    def stream(self) -> str:
        """What the rows of one stream have in common."""
        return self.row[:STREAM_DIGITS]

    @property
    def is_keyed(self) -> bool:
        """Whether the row has a key, so that a later version replaces this one."""
        return self.row != self.content


def version_of(key: object) -> Version | None:
    """Parse a message key; None for any other value."""
    if not isinstance(key, str) or not _KEY.fullmatch(key):
        return None
    row, _, content = key.partition("-")
    return Version(row, content)
