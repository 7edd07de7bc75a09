"""Publishing the messages of one topic (contract: "Public API" and "Legacy domain")."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from .batches import encode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import requests

    from ..event_streams.session import ApiSession
    from .summary import Tally

JSON = {"Content-Type": "application/json"}
REASON_LIMIT = 300
T = TypeVar("T")


class PublishClient:
    """Publishes to one topic; for the use of one thread at a time.

    Args:
        session: The session, whose subject is the topic.
        topic_id: The id of the topic.
    """

    def __init__(self, session: ApiSession, topic_id: int) -> None:
        self.session = session
        self._legacy = session.host.legacy
        path = "/api/pubsub" if self._legacy else "/api/v1/batch"
        # One prepared request with a new body each time: preparing costs more than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/publish", headers=JSON)

    def publish(self, bodies: Sequence[bytes], tally: Tally) -> Mapping[int, str]:
        """Publish messages with one request, which is not retried.

        Args:
            bodies: The messages, each a JSON object; on the legacy domain, one.
            tally: Where the request is counted.

        Returns:
            The reason of each message that the service did not acknowledge, by its index.

        Raises:
            ServiceError: None of the messages is acknowledged.
        """
        body = bodies[0] if self._legacy else encode(bodies)
        tally.requests += 1
        tally.body_bytes += len(body)
        response = self.session.send(self._request, body=body)
        if self._legacy:
            self._decode(response, _Acknowledged)
            return {}
        entries = self._decode(response, _BatchResponse).message_ids
        failed = {}
        for index in range(len(bodies)):
            entry = entries.get(str(index))
            if entry is None:
                tally.possibly_duplicated += 1
                failed[index] = "the response does not name this message"
            elif not isinstance(entry, dict) or entry.get("result") != "success":
                failed[index] = self._reason(entry)
        return failed

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _reason(self, entry: object) -> str:
        """The whole entry: the API does not say which field contains its reason."""
        text = json.dumps(entry, ensure_ascii=False).replace(self.session.host.token, "***")
        return text[:REASON_LIMIT]

    def _decode(self, response: requests.Response, kind: type[T]) -> T:
        try:
            try:
                return msgspec.json.decode(response.content, type=kind)
            except msgspec.DecodeError:
                # msgspec rejects lone surrogates, which the service may repeat from a message.
                return msgspec.convert(json.loads(response.content), kind)
        except (ValueError, RecursionError):
            raise self.session.unexpected(response) from None


class _Acknowledged(msgspec.Struct):
    message_id: str | int


class _BatchResponse(msgspec.Struct):
    message_ids: dict[str, Any]
