"""Discovers the topics to read, their stream names and samples of their messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from singer_sdk.singerlib import Catalog

from ..event_streams import logger
from ..event_streams.consume import EARLIEST, ConsumeClient, Cursor, parse_time, rfc3339
from ..event_streams.developer_api import DeveloperApi, WorkspaceTopic
from ..event_streams.errors import ServiceError
from ..plugin.wording import counted, listed, shown
from ..reading.bookmarks import Topic, name_of_topic
from ..settings import declared_schema, start_settings
from . import schemas
from .catalog import names_by_topic

MAX_REQUESTS = 5


def sample(client: ConsumeClient, batch_size: int) -> list[bytes]:
    """Read the payloads of a topic's oldest page and of a new one, in at most five requests.

    The new page is from the last sixteenth of the time since the oldest messages or, if it is full,
    of the rest. If the topic was idle then, the search goes on after a quarter of the time before.
    """
    consume = partial(client.consume, batch_size=batch_size)
    oldest = newest = consume(EARLIEST)
    if oldest.messages:
        newest = consume(Cursor(after_message_id=oldest.messages[-1].message_id))
    until, share = newest.date or datetime.now(timezone.utc), 1 / 16
    since = parse_time(newest.messages[-1].time) if newest.messages else None
    while since and len(newest.messages) == batch_size and client.requests < MAX_REQUESTS:
        time = until - (until - since) * share
        page = consume(Cursor(since_time=rfc3339(time, "milliseconds")))
        if page.messages:
            newest, since, share = page, time, min(share, 1 / 2)
        else:
            until, share = time, 3 / 4
    found = {message.message_id: message for message in [*oldest.messages, *newest.messages]}
    return [bytes(message.payload) for message in found.values()]


def from_title(topic: WorkspaceTopic) -> str:
    """Return the title of a topic in snake case, which may be empty."""
    import inflection  # noqa: PLC0415 - not needed if the settings list the topics

    return str(inflection.parameterize(inflection.underscore(topic.name or ""), separator="_"))


def named(
    topics: Sequence[Topic], in_catalog: Mapping[int, str], bookmarks: Mapping[str, Any]
) -> list[Topic]:
    """Give each topic a unique stream name: that in the catalog, of its bookmark, or its own.

    If two topics have the same name, the first one keeps it.
    """
    # A topic that is listed twice has two stream names, so neither can be found by its id.
    once = {topic_id for topic_id, count in Counter(t.id for t in topics).items() if count == 1}
    names = {topic_id: name for topic_id, name in in_catalog.items() if topic_id in once}
    for topic in topics:
        name = name_of_topic(bookmarks, topic.id)
        if name is not None and name not in names.values():
            names.setdefault(topic.id, name)
    taken = set(names.values())
    result = []
    for topic in topics:
        name = names.get(topic.id) or topic.name
        while topic.id not in names and name in taken:
            name = f"{name}_{topic.id}"
        taken.add(name)
        result.append(replace(topic, name=name))
    return result


def discover_topics(
    config: Mapping[str, Any], catalog: Catalog | None, bookmarks: Mapping[str, Any]
) -> list[Topic]:
    """Discover the topics in the ``topics`` setting, or else all topics of the workspace.

    They have unique stream names, and their schemas if these are declared. ``bookmarks`` are those
    of the last run by stream name.
    """
    workspace = _workspace(config, catalog)
    if config.get("topics"):
        topics = [_topic(config, item, workspace.get(item["id"])) for item in config["topics"]]
        bookmarks = {}  # The settings contain the names.
    else:
        topics = [
            _topic(config, {"id": topic_id, "name": from_title(each)}, each)
            for topic_id, each in sorted(workspace.items())
        ]
    return named(topics, names_by_topic(catalog), bookmarks)


def _is_readable(client: ConsumeClient) -> bool:
    with suppress(ServiceError):
        client.request(EARLIEST, batch_size=1)
        return True
    return False


def infer_schema(
    topic: Topic, client: ConsumeClient, others: Iterable[ConsumeClient], size: int, levels: int
) -> Topic:
    """Infer the schema of a topic's payloads from a sample; raise if no topic can be read."""
    # Only unknown schemas need these imports, and most runs start faster without them.
    from ..records.columns import infer_columns, leaves  # noqa: PLC0415
    from ..records.columns import schemas as column_schemas  # noqa: PLC0415

    payloads: list[bytes] = []
    try:
        payloads = sample(client, size)
    except ServiceError as exc:
        if exc.status in {401, 429} or not any(map(_is_readable, others)):  # concerns all topics
            raise
        logger.warning("%s; its schema cannot be inferred, so any object is allowed", exc)
    schema = schemas.OPEN_PAYLOAD
    if columns := infer_columns(payloads, levels):
        kinds = {path: str(column) for path, column in leaves(columns).items()}
        note = {"integer": " (only whole numbers so far)"}
        found = [f"{shown('.'.join(path))} {k}{note.get(k, '')}" for path, k in kinds.items()]
        count, messages = counted(len(found), "column"), counted(len(payloads), "message")
        logger.info("%s: found %s in %s: %s", topic, count, messages, listed(found))
        schema = {**schema, "properties": column_schemas(columns)}
    return replace(topic, payload_schema=schema, is_declared=False)


def _workspace(config: Mapping[str, Any], catalog: Catalog | None) -> dict[int, WorkspaceTopic]:
    if not config.get("developer_api_token"):
        return {}
    try:
        return {topic.id: topic for topic in DeveloperApi(config).topics()}
    except ServiceError as exc:
        if catalog is None or not config.get("topics"):
            raise
        # The settings and the catalog contain everything except the retention.
        logger.warning("%s; continuing without the Developer API", exc)
        return {}


def _topic(
    config: Mapping[str, Any], item: Mapping[str, Any], described: WorkspaceTopic | None
) -> Topic:
    """Combine the settings of the run and of a topic with what the Developer API says."""
    start = start_settings(config, item)
    schema = declared_schema(item)
    if schema is None and described and described.schema:
        schema = schemas.from_workato(described.schema)
    return Topic(
        id=item["id"],
        name=item.get("name") or f"topic_{item['id']}",
        start_from=start.get("start_from") or "earliest",
        start_date=start.get("start_date"),
        end_date=item.get("end_date") or config.get("end_date"),
        payload_schema=schema,
        retention=described.retention if described else None,
    )
