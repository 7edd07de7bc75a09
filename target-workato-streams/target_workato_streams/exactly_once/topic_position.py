"""The last message of a topic, and what became of requests without a response."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..event_streams.errors import EventStreamsError, RequestRejected
from ..state.positions import Position

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..publishing.messages import Message
    from ..publishing.publish_client import PublishResult
    from .topic_reader import TopicReader


class TopicPosition:
    """Follows one topic, and finds out which messages of a lost request are in it.

    For the only worker of the topic: no other thread of this process publishes to it.

    Args:
        reader: Reads the topic.
        last: The last message that was read.

    Attributes:
        last: The last message that was read or acknowledged.
    """

    def __init__(self, reader: TopicReader, last: Position) -> None:
        self.last = last
        self._reader = reader
        self._applied: set[int] = set()
        self._is_in_doubt = False

    def mark_in_doubt(self) -> None:
        """Mark that the last request may have been applied, although it has no response."""
        self._is_in_doubt = True

    def missing(self, messages: Sequence[Message]) -> list[Message]:
        """Return the messages of a batch that have to be sent, in order.

        Raises:
            ServiceError: The topic cannot be read.
        """
        missing = self._without_applied(messages)
        if not self._is_in_doubt:
            return missing
        try:
            self.last, applied = self._reader.find(missing, self.last)
        except RequestRejected as exc:
            # The messages are not the reason, so they must not be rejected.
            raise EventStreamsError(f"{exc} (look-up after a lost response)") from None
        self._is_in_doubt = False
        self._applied |= {message.sequence for message in applied}
        return self._without_applied(missing)

    def acknowledge(self, result: PublishResult, sent: Sequence[Message]) -> bool:
        """Move to the last message of a request that was acknowledged.

        Returns:
            Whether that message is known; if not, the topic is read before the next request.
        """
        if result.accepted(sent):
            if result.last_message_id is None:
                self.mark_in_doubt()
                return False
            self.last = Position(result.last_message_id, result.time)
        return True

    def _without_applied(self, messages: Sequence[Message]) -> list[Message]:
        return [message for message in messages if message.sequence not in self._applied]
