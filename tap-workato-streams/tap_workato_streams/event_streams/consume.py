"""Consuming the messages of one topic (contract: "Public API" and "Legacy domain")."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .errors import Unavailable
from .http_times import http_date
from .while_waiting import Body

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from .session import ApiSession

JSON = {"Content-Type": "application/json"}
# All responses of a second have the same date.
_date = functools.lru_cache(maxsize=1)(http_date)


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of a topic; its payload is the publisher's own JSON text, as bytes."""

    message_id: str
    payload: msgspec.Raw
    time: str


class Messages(NamedTuple):
    """What one request returned: messages in topic order, and the time by the service's clock."""

    messages: list[Message]
    date: datetime | None = None


class Cursor(NamedTuple):
    """From where to consume: after a message, or since a time, or from the earliest message."""

    after_message_id: str | None = None
    since_time: str | None = None


EARLIEST = Cursor()


class ConsumeClient:
    """Consumes one topic; for the use of one thread at a time.

    Args:
        session: The session, whose subject is the topic.
        topic_id: The id of the topic.
        split: Splits the body of a response into messages; a ValueError says that it is no page.
    """

    def __init__(
        self, session: ApiSession, topic_id: int, split: Callable[[bytes], list[Message]]
    ) -> None:
        path = "/api/pubsub" if session.host.legacy else "/api/v1"
        self.session = session
        self.requests = 0
        self._split = split
        self._must_connect = True
        # One prepared request with a new body each time: preparing costs more than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/consume", headers=JSON)

    def consume(
        self,
        cursor: Cursor,
        *,
        batch_size: int,
        timeout_secs: int = 0,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Messages:
        """Request the messages after a cursor.

        Args:
            cursor: From where to consume.
            batch_size: The maximum number of messages, 1 to 50.
            timeout_secs: For how many seconds the service may wait for a message, 0 to 60.
            while_waiting: Called once or more: when the request has been sent, and before anything
                that may take long. It must not raise: to the connection its error would be its own.

        Returns:
            The messages; none if there are none after the cursor.

        Raises:
            RequestRejected: The service rejected the request; no retry helps.
            GaveUp: Retries took longer than ``max_retry_secs``.
        """
        body: dict[str, Any] = {"batch_size": batch_size}
        if cursor.after_message_id is not None:
            body["after_message_id"] = cursor.after_message_id
        elif cursor.since_time is not None:
            body["since_time"] = cursor.since_time
        if timeout_secs:
            body["timeout_secs"] = timeout_secs
        if self._must_connect or not self.session.limiter.is_free:
            while_waiting()
        sent = Body(msgspec.json.encode(body), while_waiting)
        return self.session.retry(lambda: self._consume_once(sent, timeout_secs))

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _consume_once(self, body: Body, timeout_secs: int) -> Messages:
        self.requests += 1
        try:
            response = self.session.send(self._request, body=body, poll_secs=timeout_secs)
        except Unavailable:
            body.while_waiting()
            raise
        # A new connection may take its time.
        self._must_connect = response.is_last
        try:
            messages = self._split(response.content)
        except ValueError:
            raise self.session.unexpected(response) from None
        return Messages(messages, date=_date(response.headers.get("Date", "")))
