"""Groups messages into batches, each of which is one request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plugin.wording import counted
from .payload import InvalidPayloadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .messages import OutgoingMessage

# Contract: "POST /api/v1/batch/topics/{id}/publish".
MAX_MESSAGES = 100
MAX_BODY_BYTES = 1_048_576
_OPENING, _SEPARATOR, _CLOSING = b'{"payloads":[', b",", b"]}"
SEPARATOR_BYTES = len(_SEPARATOR)
FRAME_BYTES = len(_OPENING) + len(_CLOSING)


def encode(bodies: Iterable[bytes]) -> bytes:
    """Encode the body of a batch request from the bytes of its messages."""
    return _OPENING + _SEPARATOR.join(bodies) + _CLOSING


@dataclass(frozen=True)
class BatchSettings:
    """The limits of a batch.

    Args:
        max_messages: Maximum number of messages.
        max_bytes: Maximum size of the request body.
        max_age_secs: Maximum time that a message waits for its batch to fill.
        frame_bytes: Size of an empty request body.
    """

    max_messages: int = MAX_MESSAGES
    max_bytes: int = MAX_BODY_BYTES
    max_age_secs: float = 5.0
    frame_bytes: int = FRAME_BYTES

    def check(self, body: bytes) -> None:
        """Check that a message fits into a request.

        Raises:
            InvalidPayloadError: The message is too large.
        """
        excess = self.frame_bytes + len(body) - self.max_bytes
        if excess > 0:
            raise InvalidPayloadError(
                f"too large: the request would exceed max_batch_bytes by {counted(excess, 'byte')}"
            )


class BatchBuilder:
    """The batch of a topic that is under construction.

    Args:
        settings: The limits of a batch.

    Attributes:
        messages: The messages so far.
    """

    def __init__(self, settings: BatchSettings) -> None:
        self.messages: list[OutgoingMessage] = []
        self._settings = settings
        self._max_messages, self._max_bytes = settings.max_messages, settings.max_bytes
        self._started_at = 0.0
        self._bytes = 0

    @property
    def due_at(self) -> float:
        """The time on the monotonic clock at which the batch is sent even if it is not full."""
        return self._started_at + self._settings.max_age_secs

    def has_room_for(self, message: OutgoingMessage) -> bool:
        """Whether a message fits into the batch."""
        return self._bytes + len(message.body) + SEPARATOR_BYTES <= self._max_bytes

    def add(self, message: OutgoingMessage) -> Sequence[list[OutgoingMessage]]:
        """Add a message, which must fit into a request.

        Returns:
            The batches that are complete now: the previous messages if the new one does not fit,
            and all messages if it fills the batch.
        """
        size = len(message.body) + SEPARATOR_BYTES
        complete: tuple[list[OutgoingMessage], ...] = ()
        if not self.messages:
            self._start()
        elif self._bytes + size > self._max_bytes:
            complete = (self.close(),)
            self._start()
        self.messages.append(message)
        self._bytes += size
        if len(self.messages) >= self._max_messages:
            return (*complete, self.close())
        return complete

    def mark_state(self) -> None:
        """Mark that a STATE follows the messages so far."""

    def close(self) -> list[OutgoingMessage]:
        """Return the messages so far and start a new batch."""
        closed, self.messages = self.messages, []
        return closed

    def _start(self) -> None:
        # No comma precedes the first message.
        self._bytes = self._settings.frame_bytes - SEPARATOR_BYTES
        self._started_at = time.monotonic()
