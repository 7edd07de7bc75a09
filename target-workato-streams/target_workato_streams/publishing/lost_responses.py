"""Finds messages that are in the topic although their response was lost."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError, RequestRejected
from ..exactly_once.positions import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .client import PublishResult
    from .look_up import KeyConsumer
    from .messages import OutgoingMessage


class LostResponses:
    """Looks up a topic before resending messages that may already be in it.

    For the only worker of a topic: no other thread of this process publishes to it.

    Args:
        consumer: Consumes the topic.
        position: The last message that was read or acknowledged.

    Attributes:
        position: The last message that was read or acknowledged.
    """

    def __init__(self, consumer: KeyConsumer, position: Position) -> None:
        self.position = position
        self._consumer = consumer
        self._applied: set[int] = set()
        self._suspected = False

    def suspect(self) -> None:
        """Mark that the last request may have been applied."""
        self._suspected = True

    def missing(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Return the messages that have to be sent, in order.

        Raises:
            ServiceError: The topic cannot be read.
        """
        if self._suspected:
            self._look_up(messages)
            self._suspected = False
        return [message for message in messages if message.sequence not in self._applied]

    def acknowledge(self, result: PublishResult, sent: Sequence[OutgoingMessage]) -> bool:
        """Move the position to the last message of a request that was acknowledged.

        Returns:
            Whether that message is known; if not, the topic is looked up before the next request.
        """
        if result.accepted(sent):
            if result.last_message_id is None:
                self.suspect()
                return False
            self.position = Position(result.last_message_id, result.time)
        return True

    def _look_up(self, messages: Sequence[OutgoingMessage]) -> None:
        try:
            found = self._consumer.read_after(self.position)
        except RequestRejected as exc:
            # The messages are not the reason, so they must not be rejected.
            raise EventStreamsError(f"{exc} (look-up after a lost response)") from None
        self.position = found.position
        # If the position has expired, older messages with the same content may be found. If one of
        # them were taken for a message of the batch, that message would be lost.
        versions = Counter(() if found.expired else found.versions)
        for message in messages:
            if message.sequence not in self._applied and versions[message.version]:
                versions[message.version] -= 1
                self._applied.add(message.sequence)
