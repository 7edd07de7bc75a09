"""What the input consists of: streams, as their SCHEMA messages describe them, and records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream, as its latest SCHEMA message describes it.

    Args:
        name: Its name.
        key_properties: The names of its key properties.
        schema: Its JSON Schema as received; empty for a stream that a stream map created.
    """

    name: str
    key_properties: Sequence[str] = ()
    schema: bytes = b""

    def describes(self, other: Stream) -> bool:
        """Whether the other has the same schema and key properties."""
        return self.schema == other.schema and self.key_properties == other.key_properties


class Record(NamedTuple):
    """A record as received, before stream maps change it.

    Attributes:
        stream: Its stream.
        text: The JSON object.
        line: The number of its line of the input; for a record of a batch file, also its place in
            the file.
        version: The ``version`` of its RECORD message, as received; empty without one.
        time_extracted: The ``time_extracted``, likewise.
    """

    stream: Stream
    text: bytes
    line: int | str
    version: bytes = b""
    time_extracted: bytes = b""

    def __str__(self) -> str:
        """Name the record in log lines, without its content."""
        return f"{self.stream.name}, line {self.line}"
