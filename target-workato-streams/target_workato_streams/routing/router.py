"""Determines the topic of each stream."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import SettingError
from .workato_schema import to_workato

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..publishing.payload import Payload
    from ..publishing.producer import Producer
    from .topic_directory import TopicDirectory

logger = logging.getLogger("target-workato-streams")


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
        self._routed: set[str] = set()

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
        if stream in self._routed:
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
        self._producer.producers.route(stream, topic_id)
        self._routed.add(stream)
