"""Sends the requests of one batch: rate limited, retried and counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..event_streams.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """

    def __init__(self, client: PublishClient, tally: Tally) -> None:
        self._client = client
        self._tally = tally
        self._sent = False

    def publish(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Publish messages in one request, which is retried while the service is unavailable.

        Returns:
            The reason of each message that the service did not acknowledge, by index.

        Raises:
            ServiceError: The whole request failed.
            Stopped: The run is being stopped.
        """
        bodies = [message.body for message in messages]
        return self._client.session.retry(lambda: self._send(bodies))

    def _send(self, bodies: Sequence[bytes]) -> Mapping[int, str]:
        if self._sent:
            self._tally.resent += len(bodies)
        self._sent = True
        try:
            return self._client.publish(bodies, self._tally)
        except Unavailable as exc:
            if exc.status not in NOT_APPLIED:
                self._tally.possibly_duplicated += len(bodies)
            raise
