"""The Developer API: lists the topics of the workspace, and creates topics."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec

from ..event_streams import logger
from .errors import RequestRejected
from .http import Response
from .rate_limiter import RateLimiter
from .session import ApiSession, developer_host

T = TypeVar("T")

# docs/api.md, "Topics". The Developer API has its own quota.
PATH = "/api/event_streams/topics"
REQUESTS_PER_MINUTE = 60


class WorkspaceTopic(msgspec.Struct, frozen=True):
    """A topic in the Developer API."""

    id: int
    name: str | None = None
    retention: float | None = None  # in seconds
    schema: Any = None  # fields in Workato's format; None if they are unknown or malformed


class _Body(msgspec.Struct, Generic[T]):
    data: T


class _Field(msgspec.Struct):
    """The part of a field that must be valid to convert it to JSON Schema."""

    name: str | None = None
    type: str | None = None
    of: str | None = None
    label: str | None = None
    properties: list[_Field] | None = None


class TopicExists(RequestRejected):
    """A topic with this name already exists."""


class DeveloperApi:
    """The topics of the workspace; requires the setting ``developer_api_token``."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        limiter = RateLimiter(REQUESTS_PER_MINUTE)
        self.session = ApiSession(developer_host(config), config, limiter, "Developer API")

    def topics(self) -> list[WorkspaceTopic]:
        """List all topics by id."""
        topics: dict[int, WorkspaceTopic] = {}
        for page in itertools.count(1):
            listed = self.session.retry(partial(self._page, page))
            # The service may use smaller pages than requested or no pages at all, and a topic is on
            # two pages if another topic was created or deleted in the meantime.
            new = [topic for topic in listed if topic.id not in topics]
            if not new:
                break
            topics |= {topic.id: _with_valid_schema(topic) for topic in new}
        return [topics[topic_id] for topic_id in sorted(topics)]

    def create(self, name: str, schema: list[dict[str, Any]]) -> WorkspaceTopic:
        """Create a topic, with one request, not retried; TopicExists if the name is taken."""
        request = self.session.prepare("POST", PATH, json={"name": name, "schema": schema})
        try:
            response = self.session.send(request)
        except RequestRejected as exc:
            words = exc.reason.lower()
            may_be_a_conflict = exc.status in {400, 422} and ("taken" in words or "exist" in words)
            # The API does not document the status for a name that already exists.
            if exc.status == 409 or may_be_a_conflict:
                raise TopicExists(str(exc), status=exc.status, reason=exc.reason) from exc
            raise
        return self._decode(response, _Body[WorkspaceTopic]).data

    def _page(self, page: int) -> list[WorkspaceTopic]:
        params = {"page": page, "per_page": 100, "include_schema": "true"}
        response = self.session.send(self.session.prepare("GET", PATH, params=params))
        return self._decode(response, _Body[list[WorkspaceTopic]]).data

    def _decode(self, response: Response, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(response.content, type=kind, strict=False)
        except msgspec.DecodeError:
            raise self.session.unexpected(response) from None


def _with_valid_schema(topic: WorkspaceTopic) -> WorkspaceTopic:
    """Remove a malformed schema, with a warning; decode one that is listed as JSON text."""
    schema = topic.schema or None
    try:
        if isinstance(schema, str):
            schema = json.loads(schema)
        msgspec.convert(schema, list[_Field] | None)
    except ValueError:
        logger.warning("topic %d: the Developer API lists no valid schema", topic.id)
        schema = None
    return msgspec.structs.replace(topic, schema=schema)
