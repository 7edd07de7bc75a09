"""The streams and records of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Stream:
    """A stream according to its latest SCHEMA message.

    Args:
        name: The name.
        key_properties: The names of the key properties.
        schema: The JSON Schema as received; empty for a stream that is created by a stream map.
    """

    name: str
    key_properties: Sequence[str] = ()
    schema: bytes = b""


class Record(NamedTuple):
    """A record as received, before stream maps change it.

    Attributes:
        stream: Its stream.
        text: The JSON object.
        line: The line number in the input; for a record in a batch file, also the position in the
            file.
        version: The ``version`` of its RECORD message, as received; empty if there is none.
        time_extracted: The ``time_extracted`` of its RECORD message, likewise.
    """

    stream: Stream
    text: bytes
    line: int | str
    version: bytes = b""
    time_extracted: bytes = b""

    def __str__(self) -> str:
        """Name the record in log lines, without its content."""
        return f"{self.stream.name}, line {self.line}"
