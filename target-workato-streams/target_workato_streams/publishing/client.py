"""Publishing the messages of one topic (docs/api.md, "Messages")."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from ..delivery.records import PublishResult
from ..event_streams.errors import Unavailable
from ..event_streams.http import Response
from ..event_streams.redaction import redact
from ..event_streams.session import ApiSession
from .batches import encode
from .summary import Tally

T = TypeVar("T")


class PublishClient:
    """Publishes to one topic; not thread-safe."""

    def __init__(self, session: ApiSession, topic_id: int) -> None:
        self.session = session
        self.tally = Tally()  # the sender adds the counts of messages
        self._legacy = session.host.legacy
        path = "/api/pubsub" if self._legacy else "/api/v1/batch"
        # One prepared request with changing bodies, because preparing takes longer than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/publish")

    def publish(self, bodies: Sequence[bytes]) -> PublishResult:
        """Publish messages with one request, which is not retried.

        Each message is a JSON object; in the legacy domain, there is exactly one. If `ServiceError`
        is raised, no message is acknowledged.
        """
        body = bodies[0] if self._legacy else encode(bodies)
        try:
            response = self.session.send(self._request, body=body)
        finally:
            self.tally.requests = self.session.requests
            self.tally.body_bytes = self.session.body_bytes
        time = date.isoformat() if (date := response.date) else None
        if self._legacy:
            message_id = self._decode(response, _Acknowledged).message_id
            return PublishResult({}, (), str(message_id), time)
        entries = self._decode(response, _BatchResponse).message_ids
        failed, unknown = {}, []
        last = None
        for index in range(len(bodies)):
            entry = entries.get(str(index))
            # docs/api.md: any result other than success is a failure. Without one, it is unknown.
            if not isinstance(entry, dict) or entry.get("result") is None:
                unknown.append(index)
            elif entry["result"] != "success":
                # The whole entry, because the API does not document the field with the reason.
                reason = json.dumps(entry, ensure_ascii=False)
                failed[index] = redact(reason, [self.session.host.token], bodies[index])
            else:
                last = entry.get("message_id")
        return PublishResult(failed, unknown, None if last is None else str(last), time)

    def not_understood(self, unknown: int, count: int) -> Unavailable:
        """Return the error for a response without a result for some messages."""
        of_them = "the message" if count == 1 else f"{unknown} of {count} messages"
        return Unavailable(
            f"{self.session.subject}: the response was not understood: it has no result for "
            f"{of_them}; check {self.session.host.url_setting}",
            status=200,
        )

    def _decode(self, response: Response, kind: type[T]) -> T:
        try:
            try:
                return msgspec.json.decode(response.content, type=kind)
            except msgspec.DecodeError:
                # msgspec rejects lone surrogates, which the service may quote from a message.
                return msgspec.convert(json.loads(response.content), kind)
        except (ValueError, RecursionError):
            raise self.session.unexpected(response) from None


class _Acknowledged(msgspec.Struct):
    message_id: str | int


class _BatchResponse(msgspec.Struct):
    message_ids: dict[str, Any]
