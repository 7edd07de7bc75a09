"""Groups messages into batches, each of which is first sent as one request."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..delivery import Guarantee
from ..plugin.wording import counted
from .messages import InvalidPayloadError, OutgoingMessage

# docs/api.md, "Messages".
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
    """The limits of a batch."""

    max_messages: int = MAX_MESSAGES
    max_bytes: int = MAX_BODY_BYTES  # of the request body
    max_age_secs: float = 5.0  # the time that a message waits for its batch to fill
    frame_bytes: int = FRAME_BYTES  # of an empty request body

    def check(self, body: bytes) -> None:
        """Raise `InvalidPayloadError` if a message does not fit into a request."""
        excess = self.frame_bytes + len(body) - self.max_bytes
        if excess > 0:
            raise InvalidPayloadError(
                f"too large: the request would exceed max_batch_bytes by {counted(excess, 'byte')}"
            )


class BatchBuilder:
    """The batch of a topic that is under construction.

    If a complete batch contains records on both sides of the guarantee's cut, it ends there, and
    the others start the next batch.
    """

    def __init__(self, settings: BatchSettings, guarantee: Guarantee[OutgoingMessage]) -> None:
        self.messages: list[OutgoingMessage] = []
        self._settings = settings
        self._guarantee = guarantee
        self._keys: set[str | int] = set()
        self._started_at = 0.0
        self._bytes = 0

    @property
    def due_at(self) -> float:
        """The time on the monotonic clock at which the batch is sent even if it is not full."""
        return self._started_at + self._settings.max_age_secs

    def add(self, message: OutgoingMessage) -> Sequence[list[OutgoingMessage]]:
        """Add a message, which must fit into a request, and return the complete batches.

        These are the previous messages if the new one does not fit, and all if it fills the batch.
        """
        size = len(message.body) + SEPARATOR_BYTES
        largest = self._settings.max_bytes - size
        key = self._guarantee.batch_key(message)
        complete = []
        while self.messages and (self._bytes > largest or key in self._keys):
            complete.append(self.pop_batch())
        if not self.messages:
            # No comma precedes the first message.
            self._bytes = self._settings.frame_bytes - SEPARATOR_BYTES
            self._started_at = time.monotonic()
        self.messages.append(message)
        self._bytes += size
        self._keys.add(key)
        if len(self.messages) >= self._settings.max_messages:
            complete.append(self.pop_batch())
        return complete

    def pop_batch(self) -> list[OutgoingMessage]:
        """Return the batch, or its part before the cut, and start the next one with the rest."""
        closed, self.messages = self.messages, []
        self._keys.clear()
        cut = self._guarantee.cut
        before = sum(message.sequence <= cut for message in closed)
        if not 0 < before < len(closed):
            return closed
        started_at = self._started_at
        for message in closed[before:]:
            self.add(message)
        self._started_at = started_at
        return closed[:before]
