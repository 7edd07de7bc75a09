"""Finds topics by name, and creates missing ones."""

from __future__ import annotations

import logging
from itertools import count
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import Unavailable
from ..event_streams.rate_limiter import RateLimiter
from ..event_streams.retry import retrying
from ..plugin.common_settings import developer_url
from ..publishing.publish_client import DeveloperApi

if TYPE_CHECKING:
    from collections.abc import Mapping

logger = logging.getLogger("target-workato-streams")

# Contract: "Developer API"; its quota is separate from that of messages.
REQUESTS_PER_MINUTE = 60


class TopicDirectory:
    """The topics of the workspace, by name.

    Args:
        api: The connection to the Developer API.
        max_retry_secs: Maximum total time in seconds of the retries of one request.
    """

    def __init__(self, api: DeveloperApi, *, max_retry_secs: float) -> None:
        self._api = api
        self._known: dict[str, int] | None = None
        retried = retrying(
            RateLimiter(REQUESTS_PER_MINUTE),
            max_retry_secs=max_retry_secs,
            on_retry=lambda exc, wait: logger.warning("%s; trying again in %.1f s", exc, wait),
        )
        self._page = retried(api.page)
        self._create = retried(self._create_once)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> TopicDirectory:
        """Connect to the Developer API that the settings name."""
        api = DeveloperApi(
            developer_url(config),
            token=config["developer_api_token"],
            timeout_secs=config["request_timeout_secs"],
        )
        return cls(api, max_retry_secs=config["max_retry_secs"])

    def ensure(self, name: str, fields: list[dict[str, Any]]) -> int:
        """Return the id of the topic of this name, which is created if it does not exist.

        Args:
            name: The name of the stream, and of its topic.
            fields: The schema of a new topic, in Workato's format.

        Raises:
            ServiceError: The Developer API rejected a request, or did not respond.
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
                # Names are not unique: the oldest topic, which is listed first, is used.
                known = {**page, **known}
            self._known = known
        return self._known

    def _create_once(self, name: str, fields: list[dict[str, Any]]) -> int:
        # A request whose response was lost may have created it.
        if (topic_id := self._list().get(name)) is not None:
            return topic_id
        try:
            topic_id = self._api.create(name, fields)
        except Unavailable:
            self._known = None
            raise
        self._list()[name] = topic_id
        logger.info("%s: created topic %d", name, topic_id)
        return topic_id
