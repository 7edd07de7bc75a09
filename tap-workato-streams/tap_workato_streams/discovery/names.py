"""Determines unique stream names from settings or titles; a renamed topic keeps its name."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..reading.bookmarks import name_of_topic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..event_streams.developer_api import WorkspaceTopic
    from ..reading.topic import Topic


def from_title(topic: WorkspaceTopic) -> str:
    """Return the title of a topic in snake case; ``topic_<id>`` if nothing is left of it."""
    import inflection  # noqa: PLC0415 - not needed if the settings list the topics

    name = inflection.parameterize(inflection.underscore(topic.name), separator="_")
    return str(name) or f"topic_{topic.id}"


def named(
    topics: Sequence[Topic], in_catalog: Mapping[int, str], bookmarks: Mapping[str, Any]
) -> list[Topic]:
    """Set the stream name of each topic.

    Args:
        topics: The topics with their default names. If two have the same name, the first one keeps
            it.
        in_catalog: The names in the catalog by topic id; they take precedence.
        bookmarks: The bookmarks by stream name; their names come next.

    Returns:
        The topics, with unique names.
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
