"""The Developer API: lists the topics of the workspace, and creates topics."""

from __future__ import annotations

import itertools
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..event_streams import CONNECTOR
from .errors import RequestRejected
from .rate_limiter import RateLimiter
from .session import ApiSession

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .http import Response

T = TypeVar("T")

logger = logging.getLogger(CONNECTOR)

# docs/api.md, "Topics": the Developer API has its own quota.
REQUESTS_PER_MINUTE = 60
TOPICS_PER_PAGE = 100
PATH = "/api/event_streams/topics"
# The API does not document the status for a name that already exists.
CONFLICT, MAY_BE_A_CONFLICT = 409, frozenset({400, 422})


class WorkspaceTopic(msgspec.Struct, frozen=True):
    """A topic in the Developer API.

    Attributes:
        id: The topic's id.
        name: Its title.
        retention: Its retention in seconds.
        schema: Its fields, in Workato's format; None if they are unknown or malformed.
    """

    id: int
    name: str | None = None
    retention: float | None = None
    schema: Any = None


class _Page(msgspec.Struct):
    data: list[WorkspaceTopic]


class _Created(msgspec.Struct):
    data: WorkspaceTopic


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
    """The topics of the workspace (docs/api.md, "Topics")."""

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
        """Create a topic, with one request that is not retried.

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
        return self._decode(response, _Created).data

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _page(self, page: int) -> list[WorkspaceTopic]:
        params = {"page": page, "per_page": TOPICS_PER_PAGE, "include_schema": "true"}
        response = self.session.send(self.session.prepare("GET", PATH, params=params))
        return self._decode(response, _Page).data

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


def _is_conflict(exc: RequestRejected) -> bool:
    words = exc.reason.lower()
    named = "taken" in words or "exist" in words
    return exc.status == CONFLICT or (exc.status in MAY_BE_A_CONFLICT and named)
