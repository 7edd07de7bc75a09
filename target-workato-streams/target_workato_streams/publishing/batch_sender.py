"""Sends the requests of one batch: rate limited, retried and counted."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..event_streams.errors import Unavailable
from ..event_streams.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .context import PublishContext
    from .messages import Message
    from .publish_client import PublishClient
    from .summary import Tally

logger = logging.getLogger("target-workato-streams")

# The service did not apply a request that got one of these responses.
NOT_APPLIED = frozenset({425, 429})
# A wait that a user would ask about.
LONG_WAIT_SECS = 5.0


class BatchSender:
    """Sends the requests of one batch.

    Args:
        client: The connection to the topic.
        label: The topic and its streams, for errors.
        context: What the producers of all topics share.
        tally: Where requests are counted.
    """

    def __init__(
        self, client: PublishClient, label: str, context: PublishContext, tally: Tally
    ) -> None:
        self._client = client
        self._label = label
        self._tally = tally
        self._sent = False
        self._request = retrying(
            context.limiter,
            max_retry_secs=context.settings.max_retry_secs,
            on_retry=_log_retry,
        )(self._send)

    def publish(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Publish messages in one request, which is retried while the service is unavailable.

        Returns:
            The reason of each message that the service did not acknowledge, by index.

        Raises:
            ServiceError: The whole request failed.
            Stopped: The run is being stopped.
        """
        return self._request([message.body for message in messages])

    def _send(self, bodies: Sequence[bytes]) -> Mapping[int, str]:
        if self._sent:
            self._tally.resent += len(bodies)
        self._sent = True
        try:
            return self._client.publish(bodies, what=self._label, tally=self._tally)
        except Unavailable as exc:
            if exc.status not in NOT_APPLIED:
                self._tally.possibly_duplicated += len(bodies)
            raise


def _log_retry(exc: Unavailable, wait: float) -> None:
    level = logging.WARNING if wait >= LONG_WAIT_SECS else logging.DEBUG
    logger.log(level, "%s; trying again in %.1f s", exc, wait)
