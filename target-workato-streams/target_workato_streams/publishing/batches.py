"""Groups messages into batches, each of which is first sent as one request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import Self

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

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Pick the settings from a checked config."""
        max_age_secs = config["max_batch_age_secs"]
        if config["legacy_api"]:  # It has no batch endpoint (docs/api.md, "Messages").
            return cls(max_messages=1, max_age_secs=max_age_secs, frame_bytes=0)
        return cls(config["batch_size_rows"], max_age_secs=max_age_secs)

    def check(self, body: bytes) -> None:
        """Raise `InvalidPayloadError` if a message does not fit into a request."""
        excess = self.frame_bytes + len(body) - self.max_bytes
        if excess > 0:
            raise InvalidPayloadError(
                "too large: its request would exceed the service's limit of "
                f"{self.max_bytes:,} bytes by {counted(excess, 'byte')}"
            )


class BatchBuilder:
    """The batch of a topic that is under construction.

    No two of its messages have the same key, which is the row if rows are remembered.
    """

    def __init__(
        self, settings: BatchSettings, key: Callable[[OutgoingMessage], str | int]
    ) -> None:
        self.messages: list[OutgoingMessage] = []
        self.started_at = 0.0  # on the monotonic clock
        self._settings = settings
        self._key = key
        self._keys: set[str | int] = set()
        self._bytes = 0

    def add(self, message: OutgoingMessage, since: float) -> Sequence[list[OutgoingMessage]]:
        """Add a message, which must fit into a request, and return the complete batches.

        These are the previous messages if the new one does not fit, and all if it fills the batch.
        The message has waited since a time on the monotonic clock.
        """
        size = len(message.body) + SEPARATOR_BYTES
        largest = self._settings.max_bytes - size
        key = self._key(message)
        complete = []
        if self.messages and (self._bytes > largest or key in self._keys):
            complete.append(self.pop_batch())
        if not self.messages:
            # No comma precedes the first message.
            self._bytes = self._settings.frame_bytes - SEPARATOR_BYTES
            self.started_at = since
        self.messages.append(message)
        self._bytes += size
        self._keys.add(key)
        if len(self.messages) >= self._settings.max_messages:
            complete.append(self.pop_batch())
        return complete

    def pop_batch(self) -> list[OutgoingMessage]:
        """Return the batch, and start the next one."""
        batch, self.messages = self.messages, []
        self._keys.clear()
        return batch
