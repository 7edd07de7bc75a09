"""BatchBuilder a batch: it closes by count, by measured bytes, or by age."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .payload import InvalidPayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .messages import Message

# Contract: "POST /api/v1/batch/topics/{id}/publish".
MAX_MESSAGES = 100
MAX_BODY_BYTES = 1_048_576
_OPENING, _SEPARATOR, _CLOSING = b'{"payloads":[', b",", b"]}"
FRAME_BYTES = len(_OPENING) + len(_CLOSING)


def encode(bodies: Iterable[bytes]) -> bytes:
    """The body of a batch request: the messages' own bytes in the API's frame."""
    return _OPENING + _SEPARATOR.join(bodies) + _CLOSING


@dataclass(frozen=True)
class BatchSettings:
    """What a request may hold.

    Args:
        max_messages: The most messages of a batch.
        max_bytes: The most bytes of the whole body.
        frame_bytes: The bytes of the body that are not messages or commas between them.
    """

    max_messages: int = MAX_MESSAGES
    max_bytes: int = MAX_BODY_BYTES
    frame_bytes: int = FRAME_BYTES

    def check(self, body: bytes) -> None:
        """Make sure that a message can be sent at all, if need be alone.

        Raises:
            InvalidPayloadError: It is too large.
        """
        excess = self.frame_bytes + len(body) - self.max_bytes
        if excess > 0:
            raise InvalidPayloadError(
                f"too large for a request of max_batch_bytes by {excess} bytes"
            )


@dataclass
class BatchBuilder:
    """The batch of a topic that is being filled. Messages come in one by one, and batches out.

    Args:
        limits: What a batch may hold.
    """

    limits: BatchSettings
    messages: list[Message] = field(default_factory=list)
    born: float = 0.0
    _bytes: int = 0

    def add(self, message: Message) -> list[Message] | None:
        """Add a message that fits into a request by itself.

        Returns:
            The batch that closed: the one before this message if there was no room for it, or the
            one that it filled; None while the batch is open.
        """
        size = len(message.body) + len(_SEPARATOR)
        closed = None
        if not self.messages:
            self._begin()
        elif self._bytes + size > self.limits.max_bytes:
            closed = self.close()
            self._begin()
        self.messages.append(message)
        self._bytes += size
        if len(self.messages) >= self.limits.max_messages:
            return self.close()
        return closed

    def close(self) -> list[Message]:
        """Take out what is there; the next message begins a new batch."""
        closed, self.messages = self.messages, []
        return closed

    def _begin(self) -> None:
        # The first message has no comma before it.
        self._bytes = self.limits.frame_bytes - len(_SEPARATOR)
        self.born = time.monotonic()
