"""What travels through the target: a message, and the stream that it comes from."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..plugin.json_scanner import members
from ..state.checkpoints import Checkpoint  # noqa: TC001

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY_LIMIT = 200


@dataclass(frozen=True, eq=False)
class Stream:
    """A stream, as the last SCHEMA message describes it.

    Args:
        name: Its name.
        key_properties: The names of the fields that make up its key.
        schema: Its JSON Schema, as it came in; empty for what a stream map made.
    """

    name: str
    key_properties: Sequence[str] = ()
    schema: bytes = b""

    def describes(self, other: Stream) -> bool:
        """Whether the other has the same schema and key."""
        return self.schema == other.schema and self.key_properties == other.key_properties


class Origin(NamedTuple):
    """Where a message comes from, for people and for the dead letters.

    Attributes:
        stream: The stream of the input.
        record: The record as it came in, before stream maps and the like.
        position: The number of its line; for a record of a batch file, that too.
        version: The field of that name of its RECORD message, as it came in; empty if it has none.
        time_extracted: Likewise.
    """

    stream: Stream
    record: bytes
    position: int | str
    version: bytes = b""
    time_extracted: bytes = b""

    def __str__(self) -> str:
        """Stream, line and key, for the line that tells of this message."""
        key = self._key()
        return f"{self.stream.name}, line {self.position}" + (f", key {key}" if key else "")

    def _key(self) -> str:
        try:
            found = members(self.record)
            key = {name: json.loads(found[name]) for name in self.stream.key_properties}
        except (KeyError, ValueError, RecursionError):
            return ""
        return json.dumps(key)[:KEY_LIMIT] if key else ""


class Message(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A record on its way to a topic.

    Attributes:
        body: The JSON object to publish.
        origin: Where it comes from.
        sequence: Its place among all messages of the run.
        checkpoint: The checkpoint that owes it.
    """

    body: bytes
    origin: Origin
    sequence: int
    checkpoint: Checkpoint
