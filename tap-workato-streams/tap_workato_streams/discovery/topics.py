"""Discovers the topics to read, from the settings or the Developer API."""

from __future__ import annotations

import contextlib
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..event_streams.consume import ConsumeClient
from ..event_streams.developer_api import DeveloperApi
from ..event_streams.errors import RequestRejected, ServiceError
from ..event_streams.session import ApiSession
from ..plugin.pages import split_page
from ..reading.topic import Topic
from ..records.layout import Layout
from . import names, schemas
from .catalog import names_by_topic
from .samples import sample

if TYPE_CHECKING:
    from collections.abc import Mapping

    from singer_sdk.singerlib import Catalog

    from ..event_streams.developer_api import WorkspaceTopic
    from ..event_streams.rate_limiter import RateLimiter

logger = logging.getLogger("tap-workato-streams")

# With these statuses, the other topics may still be readable.
THIS_TOPIC_ONLY = {403, 404}


def discover_topics(
    config: Mapping[str, Any],
    catalog: Catalog | None,
    bookmarks: Mapping[str, Any],
    limiter: RateLimiter,
) -> list[Topic]:
    """Discover the topics to read, their stream names, and the schema of each.

    Args:
        config: The settings of the tap.
        catalog: The catalog of the run; no schema is inferred for a stream that it contains.
        bookmarks: The bookmarks of the last run by stream name.
        limiter: The rate limiter of the process, for samples.

    Returns:
        The topics in the ``topics`` setting, or else all topics of the workspace.

    Raises:
        ServiceError: The request for topics or for a sample failed.
    """
    workspace = _workspace(config, catalog)
    if config.get("topics"):
        topics = [_configured(config, item, workspace) for item in config["topics"]]
        bookmarks = {}  # The settings contain the names.
    else:
        topics = [
            _described(Topic(each.id, names.from_title(each), **_start(config)), each)
            for each in sorted(workspace.values(), key=lambda topic: topic.id)
        ]
    topics = names.named(topics, names_by_topic(catalog), bookmarks)
    known = set(catalog or ())
    if not (config["infer_schema"] or Layout.from_config(config)):
        return topics
    return [
        _sampled(config, topic, limiter)
        if topic.payload_schema is None and topic.name not in known
        else topic
        for topic in topics
    ]


def _workspace(config: Mapping[str, Any], catalog: Catalog | None) -> dict[int, WorkspaceTopic]:
    if not config.get("developer_api_token"):
        return {}
    try:
        with contextlib.closing(DeveloperApi.from_config(config)) as api:
            return {topic.id: topic for topic in api.topics()}
    except ServiceError as exc:
        if catalog is None or not config.get("topics"):
            raise
        # The settings and the catalog contain everything except the retention.
        logger.warning("%s; continuing without the Developer API", exc)
        return {}


def _configured(
    config: Mapping[str, Any],
    item: Mapping[str, Any],
    workspace: Mapping[int, WorkspaceTopic],
) -> Topic:
    topic = Topic(
        id=item["id"],
        name=item.get("name") or f"topic_{item['id']}",
        payload_schema=schemas.from_settings(item),
        **_start(item if item.get("start_from") or item.get("start_date") else config),
    )
    return _described(topic, workspace.get(topic.id))


def _start(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "start_from": settings.get("start_from") or "earliest",
        "start_date": settings.get("start_date"),
    }


def _described(topic: Topic, described: WorkspaceTopic | None) -> Topic:
    if described is None:
        return topic
    schema = topic.payload_schema
    if schema is None and described.schema:
        schema = schemas.from_workato(described.schema)
    return replace(topic, payload_schema=schema, retention=described.retention)


def _sampled(config: Mapping[str, Any], topic: Topic, limiter: RateLimiter) -> Topic:
    # Only unknown schemas need these imports, and most runs start faster without them.
    from ..records.columns import schemas as column_schemas  # noqa: PLC0415
    from ..records.inference import infer_columns  # noqa: PLC0415

    session = ApiSession.for_messages(config, limiter, str(topic))
    payloads: list[bytes] = []
    with contextlib.closing(ConsumeClient(session, topic.id, split_page)) as client:
        try:
            payloads = sample(client)
        except RequestRejected as exc:
            if exc.status not in THIS_TOPIC_ONLY:
                raise
            logger.warning("%s; its schema cannot be inferred, so any object is allowed", exc)
    layout = Layout.from_config(config)
    columns = infer_columns(payloads, layout.levels if layout else 0)
    schema = {**schemas.OPEN_PAYLOAD, "properties": column_schemas(columns)}
    return replace(
        topic,
        payload_schema=schema if columns else schemas.OPEN_PAYLOAD,
        is_declared=False,
    )
