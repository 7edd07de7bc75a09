"""The Developer API: lists the topics of the workspace, and creates topics."""

from __future__ import annotations

import itertools
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ..event_streams import CONNECTOR
from .errors import RequestRejected
from .rate_limiter import RateLimiter
from .session import ApiSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .http import Response

logger = logging.getLogger(CONNECTOR)

# Contract: "Developer API"; it has its own quota.
REQUESTS_PER_MINUTE = 60
TOPICS_PER_PAGE = 100
PATH = "/api/event_streams/topics"
# The API does not document the status for a name that already exists.
CONFLICT, MAY_BE_A_CONFLICT = 409, frozenset({400, 422})


class WorkspaceTopic(msgspec.Struct, frozen=True):
    """A topic in the Developer API; missing or malformed fields are None.

    Attributes:
        id: The topic's id.
        name: Its title; empty if it has none.
        retention: Its retention in seconds.
        schema: Its fields, in Workato's format.
    """

    id: int
    name: str = ""
    retention: float | None = None
    schema: list[dict[str, Any]] | None = None


class TopicExists(RequestRejected):
    """A topic with this name already exists."""


class DeveloperApi:
    """The topics of the workspace (contract: "Developer API").

    Args:
        session: A session of the Developer API's host.
    """

    def __init__(self, session: ApiSession) -> None:
        self.session = session

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> DeveloperApi:
        """Connect with the settings, which must contain ``developer_api_token``."""
        return cls(ApiSession.for_developer_api(config, RateLimiter(REQUESTS_PER_MINUTE)))

    def topics(self) -> list[WorkspaceTopic]:
        """List all topics by id.

        Raises:
            ServiceError: The Developer API rejected a request, or did not respond.
        """
        seen: set[str] = set()
        topics: list[WorkspaceTopic] = []
        for page in itertools.count(1):
            items = self.session.retry(partial(self._page, page))
            # The service may use smaller pages than requested or no pages at all, and a topic is on
            # two pages if another topic was created or deleted in the meantime.
            new = {key: item for item in items if (key := _key(item)) not in seen}
            if not new:
                break
            seen.update(new)
            topics.extend(topic for item in new.values() if (topic := _topic(item)))
        return sorted(topics, key=lambda topic: topic.id)

    def create(self, name: str, schema: list[dict[str, Any]]) -> WorkspaceTopic:
        """Create a topic, with one request that is not retried.

        Args:
            name: Its name.
            schema: Its fields, in Workato's format.

        Raises:
            TopicExists: A topic with this name already exists.
            ServiceError: The Developer API rejected the request, or did not respond.
        """
        request = self.session.prepare("POST", PATH, json={"name": name, "schema": schema})
        try:
            response = self.session.send(request)
        except RequestRejected as exc:
            if _is_conflict(exc):
                raise TopicExists(str(exc), status=exc.status, reason=exc.reason) from exc
            raise
        topic = _topic(self._data(response))
        if topic is None:
            raise self.session.unexpected(response)
        return topic

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _page(self, page: int) -> list[Any]:
        params = {"page": page, "per_page": TOPICS_PER_PAGE, "include_schema": "true"}
        response = self.session.send(self.session.prepare("GET", PATH, params=params))
        data = self._data(response)
        if not isinstance(data, list) or (data and not any(map(_id, data))):
            raise self.session.unexpected(response)
        return data

    def _data(self, response: Response) -> Any:  # noqa: ANN401 - JSON
        try:
            return json.loads(response.content)["data"]
        except (ValueError, RecursionError, KeyError, TypeError):
            raise self.session.unexpected(response) from None


def _key(item: object) -> str:
    """Return a key that identifies a listed topic."""
    return str(_id(item) or item)


def _id(item: object) -> int | None:
    topic_id: int | None = _read(item.get("id"), int) if isinstance(item, dict) else None
    return topic_id


def _topic(item: dict[str, Any]) -> WorkspaceTopic | None:
    """Parse a topic; log a warning for malformed fields, and ignore a topic without a valid id."""
    topic_id = _id(item)
    if topic_id is None:
        logger.warning("Developer API: ignored a topic without a valid id")
        return None
    schema = _parsed(item.get("schema"))
    topic = WorkspaceTopic(
        topic_id,
        _read(item.get("name"), str) or "",
        _read(item.get("retention"), float),
        None if _read(schema, list[_Field]) is None else schema,
    )
    for name in ("name", "retention", "schema"):
        if not getattr(topic, name) and (item.get(name) or name == "name"):
            logger.warning("topic %d: the Developer API lists no valid %s", topic_id, name)
    return topic


class _Field(msgspec.Struct):
    """The part of a field that must be valid to convert it to JSON Schema."""

    name: str | None = None
    type: str | None = None
    of: str | None = None
    label: str | None = None
    properties: list[_Field] | None = None


def _read(value: object, kind: type[Any]) -> Any:  # noqa: ANN401 - JSON
    """Convert a value, which may be a string, to the given type; None if it is invalid."""
    try:
        return msgspec.convert(value, kind, strict=False)
    except (msgspec.ValidationError, RecursionError):
        return None


def _parsed(schema: object) -> Any:  # noqa: ANN401 - JSON
    """Decode a schema that may be listed as JSON text."""
    if not isinstance(schema, str):
        return schema
    try:
        return json.loads(schema) if schema else None
    except (ValueError, RecursionError):
        return schema


def _is_conflict(exc: RequestRejected) -> bool:
    words = exc.reason.lower()
    named = "taken" in words or "exist" in words
    return exc.status == CONFLICT or (exc.status in MAY_BE_A_CONFLICT and named)
