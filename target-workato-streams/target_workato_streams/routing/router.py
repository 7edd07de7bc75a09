"""Which topic a stream goes to: exact names, then globs, then the default, then one made for it."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import SettingError
from .workato_schema import to_workato

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..publishing.payload import Payload
    from .topic_directory import Topics

logger = logging.getLogger("target-workato-streams")


class Routing:
    """The topics by the settings.

    Args:
        topics: Topic ids by stream name or glob (``*``, ``?``, ``[...]``; case matters).
        default_topic_id: The topic of all other streams, where there is one.
    """

    def __init__(self, topics: Mapping[str, int], default_topic_id: int | None = None) -> None:
        self._exact = topics
        # The longest pattern says most; of those equally long, the first stands.
        self._globs = sorted(topics.items(), key=lambda item: -len(item[0]))
        self._default = default_topic_id

    def topic_of(self, stream: str) -> int | None:
        """The id of the stream's topic, or None where no setting covers it."""
        if stream in self._exact:
            return self._exact[stream]
        for pattern, topic_id in self._globs:
            if fnmatchcase(stream, pattern):
                return topic_id
        return self._default


@dataclass
class Router:
    """Finds the topic of each new stream.

    Args:
        routing: The topics by the settings.
        topics: The workspace's topics, where missing ones are to be created.
        payload: What is published of a record, which the schema of a new topic describes.
        open_route: Called once with each stream and its topic; None skips the stream.
        while_waiting: Goes on with the run while a topic is looked up or created.
        skip: Whether a stream without a topic is skipped.
    """

    routing: Routing
    topics: Topics | None
    payload: Payload
    open_route: Callable[[str, int | None], None]
    while_waiting: Callable[[Callable[[], int]], int]
    skip: bool
    _routed: set[str] = field(default_factory=set)

    def route(self, stream: str, schema: dict[str, Any]) -> None:
        """Open the route of a stream, unless it is open.

        Args:
            stream: The name of the stream.
            schema: Its JSON Schema.

        Raises:
            SettingError: No setting gives it a topic.
            ServiceError: Its topic could not be looked up or created.
            Stopped: The run was asked to stop before its topic was found.
        """
        if stream in self._routed:
            return
        topic_id = self.routing.topic_of(stream)
        if topic_id is None and self.topics is not None:
            fields = to_workato(self.payload.schema(schema))
            topic_id = self.while_waiting(partial(self.topics.ensure, stream, fields))
        if topic_id is None:
            if not self.skip:
                raise SettingError(
                    f"stream {stream} has no topic: add it to topics, set default_topic_id, or set "
                    "on_unmapped_stream to skip"
                )
            logger.warning("Stream %s has no topic and is skipped", stream)
        self.open_route(stream, topic_id)
        self._routed.add(stream)
