"""Discovers the topics to read, their stream names and samples of their messages."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from typing import Any

from singer_sdk.singerlib import Catalog

from ..event_streams import logger
from ..event_streams.consume import EARLIEST, ConsumeClient, Cursor, parse_time, rfc3339
from ..event_streams.developer_api import DeveloperApi, WorkspaceTopic
from ..event_streams.errors import ServiceError, SettingError
from ..plugin.topics import topic_items, topic_with_title
from ..plugin.wording import counted, listed, shown
from ..reading.bookmarks import Topic, name_of_topic
from ..records.columns import MAX_NAME_BYTES
from ..records.stream_maps import StreamMaps
from ..settings import declared_schema, start_settings, utc
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
    """Return the title of a topic in snake case: a table's name as it is, or an empty text."""
    import inflection  # noqa: PLC0415 - not needed if the settings list the topics

    name: str = inflection.parameterize(inflection.underscore(topic.name or ""), separator="_")
    name = name.replace("-", "_").strip("_")  # of a wide hyphen
    # Snowflake's loader replaces a digit at the start by a letter.
    return (f"topic_{name}" if name[:1].isdigit() else name)[:MAX_NAME_BYTES]


def table_of(stream: str) -> str:
    """Return what follows the last dash (`SQLSink.table_name`), as PostgreSQL truncates it."""
    return stream.rpartition("-")[2].encode()[:MAX_NAME_BYTES].decode(errors="ignore")


def table_keys(name: str) -> set[str]:
    """Return a name without case, with punctuation replaced or removed, as loaders do it."""
    text = name.casefold()
    kept = re.sub(r"[^\w.\s-]", "", text).strip()
    return {re.sub(r"(?:[^\w-]|_)+", "_", each) for each in (text, kept)}


def check_tables(topics: Iterable[Topic], config: Mapping[str, Any]) -> None:
    """Raise `SettingError` if loaders would take two streams for one table; warn if some would."""
    known: dict[str, Topic] = {}
    tables: dict[str, list[Topic]] = {}
    maps = config.get("stream_maps") or {}
    # Streams of the same name are meant to be one table.
    names = {name: topic for topic in topics for name in StreamMaps.of(topic.name, maps).names}
    for name, topic in names.items():
        stream = replace(topic, name=name)
        table, schema = table_of(name), name[: name.rfind("-") + 1]
        for key in table_keys(schema + table):
            if (first := known.setdefault(key, stream)) is not stream:
                raise SettingError(
                    f"{first} and {stream} would be one table, {table}, for loaders that ignore "
                    "case, punctuation or what follows 63 bytes; give one of them another name"
                )
        if schema + table != name:
            text = "%s: PostgreSQL allows 63 bytes, so the table would be %s; use a shorter name"
            logger.warning(text, stream, table)
        tables.setdefault(min(table_keys(table)), []).append(stream)
    for shared in tables.values():
        if len(shared) > 1:
            better = next(each.name.replace("-", "_") for each in shared if "-" in each.name)
            text = (
                "%s would be one table, %s, unless the loader makes a schema of what precedes the "
                "dash; if it has default_target_schema, use names such as %s"
            )
            logger.warning(text, listed([*map(str, shared)]), table_of(shared[0].name), better)


def named(
    topics: Sequence[Topic],
    in_catalog: Mapping[int, str],
    bookmarks: Mapping[str, Any],
    keys: Callable[[str], set[str]] = lambda name: table_keys(table_of(name)),
) -> list[Topic]:
    """Give each topic a unique stream name: that in the catalog, of its bookmark, or its own.

    Of two topics whose names have a key in common, the first one keeps its name. In a workspace,
    it is the oldest one, so that a new topic renames no stream.
    """
    # A topic that is listed twice has two stream names, so neither can be found by its id.
    once = {topic_id for topic_id, count in Counter(t.id for t in topics).items() if count == 1}
    names = {topic_id: name for topic_id, name in in_catalog.items() if topic_id in once}
    for topic in topics:
        name = name_of_topic(bookmarks, topic.id)
        if name is not None and name not in names.values():
            names.setdefault(topic.id, name)
    taken = set[str]().union(*map(keys, names.values()))
    result = []
    for topic in topics:
        name, suffix = names.get(topic.id) or topic.name, ""
        while topic.id not in names and not taken.isdisjoint(keys(name)):
            suffix += f"_{topic.id}"
            name = topic.name[: MAX_NAME_BYTES - len(suffix)] + suffix
        taken |= keys(name)
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
        items = topic_items(config["topics"]).values()
        topics = [_topic(config, item, _described(item["id"], workspace)) for item in items]
        # The settings contain the names; `check_tables` checks them.
        return named(topics, names_by_topic(catalog), {}, lambda name: {name})
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
        items = topic_items(config.get("topics")).values()
        if catalog is None or not items or any(isinstance(item["id"], str) for item in items):
            raise
        # The settings and the catalog contain everything except the retention.
        logger.warning("%s; continuing without the Developer API", exc)
        return {}


def _described(
    topic_id: int | str, workspace: Mapping[int, WorkspaceTopic]
) -> WorkspaceTopic | None:
    if isinstance(topic_id, str):
        return topic_with_title(topic_id, workspace.values())
    return workspace.get(topic_id)


def _topic(
    config: Mapping[str, Any], item: Mapping[str, Any], described: WorkspaceTopic | None
) -> Topic:
    """Combine the settings of the run and of a topic with what the Developer API says."""
    start = start_settings(config, item)
    topic_id = described.id if described else item["id"]
    schema = declared_schema(item)
    if schema is None and described and described.schema:
        schema = schemas.from_workato(described.schema)
    return Topic(
        id=topic_id,
        name=item.get("name") or f"topic_{topic_id}",
        start_from=start.get("start_from") or "earliest",
        start_date=utc(start.get("start_date")),
        end_date=utc(item.get("end_date") or config.get("end_date")),
        payload_schema=schema,
        retention=described.retention if described else None,
        key_properties=item.get("key_properties"),
    )
