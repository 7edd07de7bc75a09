"""One request for a batch or a part of it: paced, retried and counted."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..event_streams.errors import Unavailable
from ..event_streams.retry import retrying

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..event_streams.rate_limiter import RateLimiter
    from .messages import Message
    from .publish_client import PublishClient
    from .summary import Tally

logger = logging.getLogger("target-workato-streams")

# The service certainly did not take a request that it answered so.
NOT_APPLIED = frozenset({425, 429})
# A wait that a user would ask about.
LONG_WAIT_SECS = 5.0


@dataclass
class BatchSender:
    """Sends the parts of one batch.

    Args:
        topic: The connection.
        what: The topic and its streams, for errors.
        limiter: The limiter of requests.
        max_retry_secs: How long one request may be retried in all.
        tally: Where the requests are counted.
    """

    topic: PublishClient
    what: str
    limiter: RateLimiter
    max_retry_secs: float
    tally: Tally
    _sent: bool = False

    def publish(self, messages: Sequence[Message]) -> Mapping[int, str]:
        """Publish messages in one request, which is retried while that may help.

        Returns:
            The reason of each message that the service did not acknowledge, by its index.

        Raises:
            ServiceError: The request was refused, or was not answered for `max_retry_secs`.
            Stopped: The run is being stopped.
        """
        bodies = [message.body for message in messages]
        request = retrying(self.limiter, max_retry_secs=self.max_retry_secs, on_retry=self._tell)(
            self._once
        )
        return request(bodies)

    def _once(self, bodies: Sequence[bytes]) -> Mapping[int, str]:
        if self._sent:
            self.tally.resent += len(bodies)
        self._sent = True
        try:
            return self.topic.publish(bodies, what=self.what, tally=self.tally)
        except Unavailable as exc:
            if exc.status not in NOT_APPLIED:
                self.tally.possibly_duplicated += len(bodies)
            raise

    @staticmethod
    def _tell(exc: Unavailable, wait: float) -> None:
        level = logging.WARNING if wait >= LONG_WAIT_SECS else logging.DEBUG
        logger.log(level, "%s; trying again in %.1f s", exc, wait)
