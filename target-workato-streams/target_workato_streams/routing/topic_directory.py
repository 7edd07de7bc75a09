"""Finding the topic that a stream needs by its name, and creating it where it is missing."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import Unavailable
from ..event_streams.rate_limiter import RateLimiter
from ..event_streams.retry import retrying

if TYPE_CHECKING:
    from ..publishing.publish_client import TopicDirectory

logger = logging.getLogger("target-workato-streams")

# Contract: "Developer API"; its quota is not that of the messages.
REQUESTS_PER_MINUTE = 60


class Topics:
    """The workspace's topics by name.

    Args:
        directory: The connection to the Developer API.
        max_retry_secs: How long one request may be retried in all.
    """

    def __init__(self, directory: TopicDirectory, *, max_retry_secs: float) -> None:
        self._directory = directory
        self._known: dict[str, int] | None = None
        retried = retrying(
            RateLimiter(REQUESTS_PER_MINUTE),
            max_retry_secs=max_retry_secs,
            on_retry=lambda exc, wait: logger.warning("%s; trying again in %.1f s", exc, wait),
        )
        self._page = retried(directory.page)
        self._create = retried(self._create_once)

    def ensure(self, name: str, fields: list[dict[str, Any]]) -> int:
        """The id of the topic of this name; it is created if there is none.

        Args:
            name: The name of the stream, which is that of the topic.
            fields: The schema of a new topic, in Workato's format.

        Raises:
            ServiceError: The Developer API refused, or did not answer for `max_retry_secs`.
        """
        topic_id = self._list().get(name)
        return self._create(name, fields) if topic_id is None else topic_id

    def _list(self) -> dict[str, int]:
        if self._known is None:
            known: dict[str, int] = {}
            for number in count(1):
                page = self._page(number)
                if not page.keys() - known.keys():
                    break
                # Names are not unique: the oldest, listed first, stands.
                known = {**page, **known}
            self._known = known
        return self._known

    def _create_once(self, name: str, fields: list[dict[str, Any]]) -> int:
        # A request whose answer was lost may have made it.
        if (topic_id := self._list().get(name)) is not None:
            return topic_id
        try:
            topic_id = self._directory.create(name, fields)
        except Unavailable:
            self._known = None
            raise
        self._list()[name] = topic_id
        logger.info("Created topic %s (id %d)", name, topic_id)
        return topic_id
