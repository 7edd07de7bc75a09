"""All HTTP, and only HTTP: publishing to a topic, and the topics of the workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..event_streams.errors import unreadable
from ..event_streams.session import ApiSession
from .batches import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import requests

    from .summary import Tally

AGENT = "target-workato-streams"
JSON = {"Content-Type": "application/json"}
REASON_LIMIT = 300
TOPICS_PER_PAGE = 100
T = TypeVar("T")


class PublishClient:
    """The publishing of one topic (contract: "Public API" and "Legacy domain").

    Args:
        base_url: The base URL of the messages API.
        topic_id: The topic.
        legacy: Whether to publish message by message, by the legacy domain's paths.
        token: The Bearer token.
        timeout_secs: How long to wait for an answer.
    """

    def __init__(
        self, base_url: str, topic_id: int, *, legacy: bool, token: str, timeout_secs: float
    ) -> None:
        path = "/api/pubsub" if legacy else "/api/v1/batch"
        url = f"{base_url}{path}/topics/{topic_id}/publish"
        self._token = token
        self._legacy = legacy
        self._session = ApiSession(url, token, agent=AGENT, timeout_secs=timeout_secs)
        # One prepared request with a new body each time: preparing costs more than sending.
        self._request = self._session.prepare("POST", url, headers=JSON)

    def publish(self, bodies: Sequence[bytes], *, what: str, tally: Tally) -> Mapping[int, str]:
        """Publish messages in one request; by the legacy domain's paths, one message.

        Args:
            bodies: The messages, each a JSON object.
            what: The topic and its streams, for errors.
            tally: Where the request is counted.

        Returns:
            The reason of each message that the service did not acknowledge, by its index.

        Raises:
            ServiceError: None of the messages is acknowledged.
        """
        body = bodies[0] if self._legacy else encode(bodies)
        tally.requests += 1
        tally.body_bytes += len(body)
        response = self._session.ask(self._request, what=what, body=body)
        if self._legacy:
            _decode(response, _Acknowledged, what=what)
            return {}
        entries = _decode(response, _BatchAnswer, what=what).message_ids
        failed = {}
        for index in range(len(bodies)):
            entry = entries.get(str(index))
            if entry is None:
                tally.possibly_duplicated += 1
                failed[index] = "the service's answer does not name this message"
            elif not isinstance(entry, dict) or entry.get("result") != "success":
                failed[index] = self._reason(entry)
        return failed

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def _reason(self, entry: object) -> str:
        """The whole entry: the API does not say in which field its reason stands."""
        words = json.dumps(entry, ensure_ascii=False).replace(self._token, "***")
        return words[:REASON_LIMIT]


class DeveloperApi:
    """The topics of the workspace (contract: "Developer API").

    Args:
        base_url: The base URL of the Developer API.
        token: The Bearer token.
        timeout_secs: How long to wait for an answer.
    """

    def __init__(self, base_url: str, *, token: str, timeout_secs: float) -> None:
        self._url = f"{base_url}/api/event_streams/topics"
        self._session = ApiSession(
            self._url,
            token,
            agent=AGENT,
            timeout_secs=timeout_secs,
            setting="developer_api_token",
        )

    def page(self, number: int) -> dict[str, int]:
        """One page of topics: the id of each by its name (of those that share one, the first).

        Raises:
            ServiceError: The Developer API refused, or did not answer.
        """
        what = "the topics of the workspace"
        params = {"page": number, "per_page": TOPICS_PER_PAGE}
        request = self._session.prepare("GET", self._url, params=params)
        response = self._session.ask(request, what=what)
        listed = _decode(response, _Listed, what=what)
        return {topic.name: topic.id for topic in reversed(listed.data)}

    def create(self, name: str, schema: list[dict[str, Any]]) -> int:
        """Create a topic, and return its id.

        Args:
            name: Its name.
            schema: Its fields, in Workato's format.

        Raises:
            ServiceError: The Developer API refused, or did not answer.
        """
        what = f"creating topic {name}"
        body = {"name": name, "schema": schema}
        request = self._session.prepare("POST", self._url, json=body)
        response = self._session.ask(request, what=what)
        return _decode(response, _Created, what=what).data.id


def _decode(response: requests.Response, kind: type[T], *, what: str) -> T:
    """Decode an answer of a known shape, or raise Unavailable; an id may be a number or a text."""
    try:
        try:
            return msgspec.json.decode(response.content, type=kind, strict=False)
        except msgspec.DecodeError:
            # msgspec takes no lone surrogates, which the service may repeat from a message.
            return msgspec.convert(json.loads(response.content), kind, strict=False)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise unreadable(response, what=what) from None


class _Acknowledged(msgspec.Struct):
    message_id: str | int


class _BatchAnswer(msgspec.Struct):
    message_ids: dict[str, Any]


class _TopicInfo(msgspec.Struct):
    id: int
    name: str


class _Listed(msgspec.Struct):
    data: list[_TopicInfo]


class _Created(msgspec.Struct):
    data: _TopicInfo
