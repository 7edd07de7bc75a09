"""Finds topics by name, and creates missing ones."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ..event_streams.developer_api import TopicExists
from ..event_streams.errors import Unavailable

if TYPE_CHECKING:
    from ..event_streams.developer_api import DeveloperApi
    from .workato_schema import WorkatoSchema

logger = logging.getLogger("target-workato-streams")

# The maximum number of fields that are named in a line.
MAX_NAMES = 5


class TopicDirectory:
    """The topics of the workspace, by name.

    Args:
        api: The Developer API.
    """

    def __init__(self, api: DeveloperApi) -> None:
        self._api = api
        self._known: dict[str, int] | None = None

    def ensure(self, name: str, schema: WorkatoSchema) -> int:
        """Return the id of the topic with this name, and create the topic if it does not exist.

        Args:
            name: The name of the stream, and of its topic.
            schema: The schema of a new topic.

        Raises:
            ServiceError: The Developer API rejected a request, or retries took longer than
                `max_retry_secs`.
        """
        topic_id = self._list().get(name)
        if topic_id is not None:
            return topic_id
        return self._api.session.retry(partial(self._create_once, name, schema))

    def _list(self) -> dict[str, int]:
        if self._known is None:
            # Names are not unique, so every process uses the topic with the lowest id.
            self._known = {topic.name: topic.id for topic in reversed(self._api.topics())}
        return self._known

    def _create_once(self, name: str, schema: WorkatoSchema) -> int:
        # A request whose response was lost may have created the topic.
        if (topic_id := self._list().get(name)) is not None:
            return topic_id
        try:
            created = self._api.create(name, schema.fields).id
        except Unavailable:
            self._known = None
            raise
        except TopicExists:
            # Another process has created the topic; use it if it is in the list.
            self._known = None
            if (topic_id := self._list().get(name)) is not None:
                return topic_id
            raise
        # If another process has created a topic at the same time, both use the older one.
        self._known = None
        topic_id = self._list().get(name, created)
        if topic_id == created:
            logger.info("%s: created topic %d%s", name, created, _omitted(schema.omitted))
        else:
            logger.warning(
                "%s: created topic %d, but another process has created topic %d with this name, "
                "which is used instead; topic %d can be deleted",
                name,
                created,
                topic_id,
                created,
            )
        return topic_id


def _omitted(names: list[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return (
        f" without {', '.join(names[:MAX_NAMES])}{more} in its schema, because Workato's schemas "
        "have no type for them; messages contain these fields nevertheless"
    )
