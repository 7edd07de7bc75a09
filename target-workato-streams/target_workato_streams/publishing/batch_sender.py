"""Sends the requests of one batch: rate limited, retried and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..event_streams.errors import Unavailable
from ..state.positions import Position

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .lost_responses import LostResponses
    from .messages import Message
    from .publish_client import PublishClient
    from .summary import Tally

# The service did not apply a request that got one of these responses.
NOT_APPLIED = frozenset({425, 429})


class BatchSender:
    """Sends the requests of one batch.

    Args:
        client: The client of the topic.
        tally: Where requests are counted.
        lost_responses: What looks up the topic before messages are sent again, if anything does.
    """

    def __init__(
        self, client: PublishClient, tally: Tally, lost_responses: LostResponses | None = None
    ) -> None:
        self._client = client
        self._tally = tally
        self._sent = False
        self._lost_responses = lost_responses
        self._may_be_applied = False

    def publish(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Publish messages in one request, which is retried while the service is unavailable.

        Returns:
            The reason of each message that the service did not acknowledge, by index.

        Raises:
            ServiceError: The whole request failed.
            Stopped: The run is being stopped.
        """
        return self._client.session.retry(lambda: self._send(messages))

    def _send(self, messages: Sequence[Message]) -> Mapping[int, str]:
        missing = self._missing(messages)
        if not missing:
            return {}
        bodies = [message.body for message in missing]
        if self._sent:
            self._tally.resent += len(bodies)
        self._sent = True
        try:
            result = self._client.publish(bodies, self._tally)
        except Unavailable as exc:
            if exc.status not in NOT_APPLIED:
                self._count_possibly_applied(len(bodies))
            raise
        if result.unknown:
            self._count_possibly_applied(result.unknown)
            if self._lost_responses is not None:
                raise Unavailable(
                    f"{self._client.session.subject}: the response does not name all messages"
                )
        if self._lost_responses is not None and result.last_message_id is not None:
            self._lost_responses.position = Position(result.last_message_id, result.time)
        if len(missing) == len(messages):
            return result.failed
        indices = {message.sequence: index for index, message in enumerate(messages)}
        return {indices[missing[i].sequence]: reason for i, reason in result.failed.items()}

    def _missing(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Find out which messages have to be sent."""
        lost = self._lost_responses
        if lost is None:
            return messages
        if self._may_be_applied:
            lost.look_up(messages)
            self._may_be_applied = False
        return lost.missing(messages)

    def _count_possibly_applied(self, count: int) -> None:
        if self._lost_responses is None:
            self._tally.possibly_duplicated += count
        else:
            self._may_be_applied = True
