"""Determines the topic of each stream, and creates missing topics."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from ..event_streams.developer_api import TopicExists
from ..event_streams.errors import SettingError, Unavailable
from ..plugin.wording import listed
from .workato_schema import to_workato

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..event_streams.developer_api import DeveloperApi
    from ..publishing.payload import Payload
    from ..publishing.producer import Producer
    from .workato_schema import WorkatoSchema

logger = logging.getLogger("target-workato-streams")


class TopicDirectory:
    """The topics of the workspace, by name.

    They are listed once, and again only if a topic may have been created without our knowledge.

    Args:
        api: The Developer API.
    """

    def __init__(self, api: DeveloperApi) -> None:
        self._api = api
        self._known: dict[str | None, int] | None = None

    def ensure(self, name: str, schema: WorkatoSchema) -> int:
        """Return the id of the topic with this name, and create the topic if it does not exist.

        Args:
            name: The name of the stream, and of its topic.
            schema: The schema of a new topic.

        Raises:
            ServiceError: The Developer API rejected a request, or retries took longer than
                `max_retry_secs`.
        """
        return self._find(name) or self._api.session.retry(partial(self._create, name, schema))

    def _find(self, name: str) -> int | None:
        if self._known is None:
            # Names are not unique, so every process uses the topic with the lowest id.
            self._known = {topic.name: topic.id for topic in reversed(self._api.topics())}
        return self._known.get(name)

    def _create(self, name: str, schema: WorkatoSchema) -> int:
        # The previous attempt, whose response was lost, may have created the topic.
        if topic_id := self._find(name):
            return topic_id
        try:
            topic_id = self._api.create(name, schema.fields).id
        except Unavailable:
            self._known = None
            raise
        except TopicExists as exc:
            conflict = exc
        else:
            logger.info("%s: created topic %d%s", name, topic_id, _omitted(schema.omitted))
            return topic_id
        # Another process has created the topic; use it if it is in the list.
        self._known = None
        if topic_id := self._find(name):
            return topic_id
        raise conflict


def _omitted(names: list[str]) -> str:
    if not names:
        return ""
    return (
        f" without {listed(names)} in its schema, because Workato's schemas have no type for them; "
        "messages contain these fields nevertheless"
    )


@dataclass(frozen=True)
class RoutingSettings:
    """Which topic a stream is published to.

    Args:
        topics: Topic ids by stream name or glob (``*``, ``?``, ``[...]``; case matters).
        default_topic_id: Topic of all other streams, if there is one.
        skip_unmapped: Whether a stream without a topic is skipped; otherwise it ends the run.
        payload: The part of a record that is published, which determines the schema of new topics.
    """

    topics: Mapping[str, int]
    default_topic_id: int | None
    skip_unmapped: bool
    payload: Payload

    def topic_of(self, stream: str) -> int | None:
        """Return the topic id of a stream, or None if no setting covers it.

        An exact name takes precedence over globs, and a longer glob over a shorter one.
        """
        if stream in self.topics:
            return self.topics[stream]
        matching = [glob for glob in self.topics if fnmatchcase(stream, glob)]
        return self.topics[max(matching, key=len)] if matching else self.default_topic_id


class Router:
    """Routes each new stream to its topic.

    Args:
        settings: The topics of the streams.
        topics: Creates missing topics; None if they are not created.
        producer: Publishes the streams.
    """

    def __init__(
        self, settings: RoutingSettings, topics: TopicDirectory | None, producer: Producer
    ) -> None:
        self._settings = settings
        self._topics = topics
        self._producer = producer

    def route(self, stream: str, schema: dict[str, Any]) -> None:
        """Route a stream to its topic, unless it has been routed.

        Args:
            stream: The name of the stream.
            schema: Its JSON Schema.

        Raises:
            SettingError: The settings contain no topic for the stream.
            ServiceError: The topic could not be looked up or created.
            Stopped: The run was stopped.
        """
        if stream in self._producer.routes:
            return
        topic_id = self._settings.topic_of(stream)
        if topic_id is None and self._topics is not None:
            described = to_workato(self._settings.payload.schema(schema))
            ensure = partial(self._topics.ensure, stream, described)
            topic_id = self._producer.while_waiting(ensure)
        if topic_id is None:
            if not self._settings.skip_unmapped:
                raise SettingError(
                    f"stream {stream} has no topic; add it to topics, set default_topic_id, or set "
                    "on_unmapped_stream to skip"
                )
            logger.warning("%s: has no topic and is skipped", stream)
        self._producer.route(stream, topic_id)
