"""The setting `topics` of both connectors: its shapes, and titles in the place of ids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from singer_sdk import typing as th

from ..event_streams.developer_api import WorkspaceTopic
from ..event_streams.errors import SettingError
from .wording import listed, shown

_ID = th.Property(
    "id",
    th.CustomType({"type": ["integer", "string"], "minLength": 1}),
    required=True,
    description="Topic id or, with `developer_api_token`, the topic's title in Workato",
)


def topics_type(name: th.Property[Any], *more: th.Property[Any]) -> th.CustomType:
    """Return the type of the setting: an object from names to ids or items, or a list of items.

    A name is the key in the object, and the property ``name`` in the list.
    """
    item = th.ObjectType(_ID, *more, additional_properties=False).to_dict()
    named = {**item, "type": ["integer", "string", "object"], "minLength": 1}
    in_list = th.ObjectType(_ID, name, *more, additional_properties=False).to_dict()
    # Each keyword applies to one of the types, so errors say more than those of `anyOf`.
    return th.CustomType(
        {"type": ["object", "array"], "additionalProperties": named, "items": in_list}
    )


def topic_items(topics: object) -> dict[str, dict[str, Any]]:
    """Return the items of the setting by their paths, such as ``topics.orders``, in one shape.

    Each has an ``id``: a number, or a title. The setting may have wrong types.
    """
    items: dict[str, dict[str, Any]] = {}
    if isinstance(topics, dict):
        for name, item in topics.items():
            about = item if isinstance(item, dict) else {"id": item}
            items[f"topics.{name}"] = {**about, "name": name}
    elif isinstance(topics, list):
        for number, item in enumerate(topics):
            if isinstance(item, dict):
                items[f"topics[{number}]"] = dict(item)
    for item in items.values():
        # Environment variables are text, also inside of objects.
        if isinstance(topic_id := item.get("id"), str) and topic_id.isdecimal():
            item["id"] = int(topic_id)
    return items


def topics_problems(config: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each name that is not unique, and each title that cannot be looked up."""
    items = topic_items(config.get("topics"))
    names = Counter(str(item.get("name") or f"topic_{item.get('id')}") for item in items.values())
    for name, count in names.items():
        if count > 1:
            yield f"topics: {count} topics are named {name}; give each a different name"
    for path, item in items.items():
        title = item.get("id")
        if isinstance(title, str) and title and not config.get("developer_api_token"):
            yield f"{path}: {shown(title)} is a title; set developer_api_token, or write the id"


def topic_with_title(title: str, topics: Iterable[WorkspaceTopic]) -> WorkspaceTopic:
    """Find the only topic with a title; SettingError if there is none or more than one."""
    by_id = {topic.id: topic for topic in topics}
    ids = [topic_id for topic_id, topic in by_id.items() if topic.name == title]
    if len(ids) == 1:
        return by_id[ids[0]]
    if ids:
        named = f"{len(ids)} topics have the title {shown(title)}"
        raise SettingError(
            f"topics: {named}; write the id of one of them: {listed([*map(str, ids)])}"
        )
    titles = {topic.name: topic_id for topic_id, topic in by_id.items() if topic.name}
    near = get_close_matches(title, titles, 1)
    advice = f"did you mean {shown(near[0])} (topic {titles[near[0]]})?" if near else "write its id"
    raise SettingError(f"topics: no topic has the title {shown(title)}; {advice}")
