"""Which messages of a batch are in the topic although no response has said so."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..state.positions import Position
    from .look_up import TopicReader
    from .messages import Message


class LostResponses:
    """Looks up a topic before messages are sent again that may already be in it.

    For the one worker of a topic: no other thread publishes to it.

    Args:
        reader: Reads the topic.
        position: The last message that was read or acknowledged.

    Attributes:
        position: Likewise.
    """

    def __init__(self, reader: TopicReader, position: Position) -> None:
        self.position = position
        self._reader = reader
        self._applied: set[int] = set()

    def missing(self, messages: Sequence[Message]) -> list[Message]:
        """The messages that are not known to be in the topic, in order."""
        return [message for message in messages if message.sequence not in self._applied]

    def look_up(self, messages: Sequence[Message]) -> None:
        """Find out which messages are in the topic.

        Raises:
            ServiceError: The topic cannot be read.
        """
        found = self._reader.behind(self.position)
        self.position = found.position
        versions = Counter(found.versions)
        for message in self.missing(messages):
            if message.version is not None and versions[message.version]:
                versions[message.version] -= 1
                self._applied.add(message.sequence)
