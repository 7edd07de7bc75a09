"""All HTTP, and only HTTP: publishing to a topic, and the topics of the workspace."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import requests
from singer_sdk.authenticators import BearerTokenAuthenticator

from .batches import encode
from .errors import check, unreachable, unreadable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from .summary import Tally

REASON_LIMIT = 300
TOPICS_PER_PAGE = 100


class Endpoint:
    """One connection of one thread, kept alive, with what does not change between requests.

    The environment's proxies and certificates are looked up once: `requests` would do so for every
    request, which takes longer than sending it.

    Args:
        url: Where the requests go.
        token: The Bearer token.
        timeout_secs: How long to wait for a connection, and for each part of an answer.
        setting: The name of the setting that holds the token, for errors.
    """

    def __init__(self, url: str, token: str, *, timeout_secs: float, setting: str) -> None:
        self._session = requests.Session()
        self._settings: dict[str, Any] = dict(
            self._session.merge_environment_settings(
                url, proxies={}, stream=False, verify=None, cert=None
            )
        )
        self._session.trust_env = False
        self._session.auth = BearerTokenAuthenticator(token=token)
        self._session.headers["User-Agent"] = "target-workato-streams"
        self._url = url
        self._token = token
        self._timeout = timeout_secs
        self._setting = setting
        self._adapter = self._session.get_adapter(url)

    def prepare(self, method: str, path: str = "", **kwargs: Any) -> requests.PreparedRequest:  # noqa: ANN401
        """Prepare a request; it may be sent many times."""
        return self._session.prepare_request(requests.Request(method, self._url + path, **kwargs))

    def send(self, request: requests.PreparedRequest, *, what: str) -> requests.Response:
        """Send a request, and read the whole answer. Redirects are not followed.

        Returns:
            The answer, whose status is 2xx.

        Raises:
            ServiceError: Another status, or no complete answer.
        """
        try:
            # Below the session, which would look for cookies and redirects.
            response = self._adapter.send(request, timeout=self._timeout, **self._settings)
            _ = response.content
        except requests.RequestException as exc:
            raise unreachable(exc, what=what) from exc
        check(response, what=what, secrets=[self._token], token=self._setting)
        return response

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def __enter__(self) -> Self:
        """Keep the connection for a block."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it behind the block."""
        self.close()


class Topic(Endpoint):
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
        path = (
            f"/api/pubsub/topics/{topic_id}/publish"
            if legacy
            else f"/api/v1/batch/topics/{topic_id}/publish"
        )
        super().__init__(base_url + path, token, timeout_secs=timeout_secs, setting="api_token")
        self._legacy = legacy
        self._request = self.prepare("POST", headers={"Content-Type": "application/json"})

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
        self._request.body = body
        self._request.headers["Content-Length"] = str(len(body))
        tally.requests += 1
        tally.body_bytes += len(body)
        response = self.send(self._request, what=what)
        try:
            if self._legacy:
                msgspec.json.decode(response.content, type=_Acknowledged)
                return {}
            entries = msgspec.json.decode(response.content, type=_BatchAnswer).message_ids
        except msgspec.DecodeError:
            raise unreadable(response, what=what) from None
        failed = {}
        for index in range(len(bodies)):
            entry = entries.get(str(index))
            if entry is None:
                tally.possibly_doubled += 1
                failed[index] = "the service's answer does not name this message"
            elif not isinstance(entry, dict) or entry.get("result") != "success":
                failed[index] = self._reason(entry)
        return failed

    def _reason(self, entry: object) -> str:
        """The whole entry: the API does not say in which field its reason stands."""
        words = json.dumps(entry, ensure_ascii=False).replace(self._token, "***")
        return words[:REASON_LIMIT]


class _Acknowledged(msgspec.Struct):
    message_id: str


class _BatchAnswer(msgspec.Struct):
    message_ids: dict[str, Any]


class TopicDirectory(Endpoint):
    """The topics of the workspace (contract: "Developer API").

    Args:
        base_url: The base URL of the Developer API.
        token: The Bearer token.
        timeout_secs: How long to wait for an answer.
    """

    def __init__(self, base_url: str, *, token: str, timeout_secs: float) -> None:
        super().__init__(
            f"{base_url}/api/event_streams/topics",
            token,
            timeout_secs=timeout_secs,
            setting="developer_api_token",
        )

    def page(self, number: int) -> dict[str, int]:
        """One page of topics: the id of each by its name (of those that share one, the first).

        Raises:
            ServiceError: The Developer API refused, or did not answer.
        """
        what = "the topics of the workspace"
        request = self.prepare("GET", params={"page": number, "per_page": TOPICS_PER_PAGE})
        response = self.send(request, what=what)
        try:
            listed = msgspec.json.decode(response.content, type=_Listed)
        except msgspec.DecodeError:
            raise unreadable(response, what=what) from None
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
        request = self.prepare("POST", json={"name": name, "schema": schema})
        response = self.send(request, what=what)
        try:
            return msgspec.json.decode(response.content, type=_Created).data.id
        except msgspec.DecodeError:
            raise unreadable(response, what=what) from None


class _TopicInfo(msgspec.Struct):
    id: int
    name: str


class _Listed(msgspec.Struct):
    data: list[_TopicInfo]


class _Created(msgspec.Struct):
    data: _TopicInfo
