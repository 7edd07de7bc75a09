"""Determines the topic of each stream, creates missing ones, and checks where records are from."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cached_property, partial
from typing import Any

from ..event_streams import logger
from ..event_streams.developer_api import DeveloperApi, TopicExists, WorkspaceTopic
from ..event_streams.errors import SettingError, Unavailable
from ..event_streams.json import members
from ..plugin.topics import topic_items, topic_with_title
from ..plugin.wording import listed
from ..publishing.messages import Payload
from ..publishing.producer import Producer
from .workato_schema import WorkatoSchema, to_workato

# By these fields, which tap-workato-streams adds, a record names the topic that it was read from.
TAP_FIELDS = {"message_id", "topic_id"}


class Router:
    """Routes each new stream to its topic, and creates missing topics."""

    def __init__(self, config: Mapping[str, Any], producer: Producer) -> None:
        items = topic_items(config.get("topics")).values()
        self._topics: Mapping[str, int | str] = {item["name"]: item["id"] for item in items}
        self._skips_unmapped = config["on_unmapped_stream"] == "skip"
        self._payload = Payload.from_config(config)
        self._producer = producer
        self._creates_topics: bool = config["create_topics"]
        self._dry_run: bool = config["dry_run"]
        self._config = config
        # The topics of the workspace. They are listed once, and again only if a topic may have been
        # created without our knowledge.
        self._listed: list[WorkspaceTopic] | None = None

    @cached_property
    def _api(self) -> DeveloperApi:
        return DeveloperApi(self._config)

    def route(self, stream: str, schema: dict[str, Any]) -> None:
        """Route a stream to its topic, unless it has been routed."""
        if stream in self._producer.routes:
            return
        topic_id = self._configured(stream)
        if isinstance(topic_id, str):
            topic_id = self._producer.run_in_thread(partial(self._with_title, topic_id))
        if topic_id is None and self._creates_topics:
            described = to_workato(self._payload.schema(schema))
            topic_id = self._producer.run_in_thread(partial(self._ensure, stream, described))
        if topic_id is None:
            if not self._skips_unmapped:
                raise SettingError(
                    f'stream {stream} has no topic; add it to topics, or "*" for all other '
                    "streams, or set on_unmapped_stream to skip"
                )
            logger.warning("%s: has no topic and is skipped", stream)
        self._producer.route(stream, topic_id)

    def check_source(self, stream: str, record: bytes) -> None:
        """Raise `SettingError` if a record with `TAP_FIELDS` goes to the topic it was read from."""
        producer, fields = self._producer.routes[stream], members(record)
        # A number would be the id of something else, such as a post in a forum.
        is_message = fields.get("message_id", b"").startswith(b'"')
        if producer and is_message and fields.get("topic_id") == b"%d" % producer.topic_id:
            raise SettingError(
                f"stream {stream}: its records were read from topic {producer.topic_id}, which "
                "would be published into itself; choose another topic in topics, or, if the two "
                "are topics of different workspaces, remove topic_id in the tap, with stream_maps: "
                '{"*": {"topic_id": "__NULL__"}}'
            )

    def _configured(self, stream: str) -> int | str | None:
        """Return the topic's id or title in the settings: of the exact name, or the longest glob.

        A glob of ``*`` comes last. Case matters in globs (``*``, ``?``, ``[...]``).
        """
        if stream in self._topics:
            return self._topics[stream]
        matching = [glob for glob in self._topics if fnmatchcase(stream, glob)]
        best = max(matching, key=lambda glob: (glob != "*", len(glob)), default=None)
        return None if best is None else self._topics[best]

    def _ensure(self, name: str, schema: WorkatoSchema) -> int:
        """Return the id of the topic with this name, and create the topic if it does not exist."""
        create = partial(self._create, name, schema)
        # First without `retry`, which waits for the quota even if there is no request.
        return self._find(name) or self._api.session.retry(create)

    def _workspace(self) -> list[WorkspaceTopic]:
        if self._listed is None:
            self._listed = self._api.topics()
        return self._listed

    def _with_title(self, title: str) -> int:
        return topic_with_title(title, self._workspace()).id

    def _find(self, name: str) -> int | None:
        # Names are not unique, so every process uses the topic with the lowest id.
        return next((topic.id for topic in self._workspace() if topic.name == name), None)

    def _create(self, name: str, schema: WorkatoSchema) -> int:
        # The previous attempt, whose response was lost, may have created the topic.
        if topic_id := self._find(name):
            return topic_id
        if self._dry_run:
            logger.info("%s: a run would create a topic", name)
            return -1 - len(self._producer.topics)
        try:
            topic_id = self._api.create(name, schema.fields).id
        except Unavailable:
            self._listed = None
            raise
        except TopicExists:
            # Another process has created the topic; use it if it is in the list.
            self._listed = None
            if found := self._find(name):
                return found
            raise
        logger.info("%s: created topic %d%s", name, topic_id, _omitted(schema.omitted))
        return topic_id


def _omitted(names: list[str]) -> str:
    if not names:
        return ""
    return (
        f" without {listed(names)} in its schema, because Workato's schemas have no type for them; "
        "messages contain these fields nevertheless"
    )
