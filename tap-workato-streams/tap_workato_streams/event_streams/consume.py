"""Consuming the messages of one topic (contract: "Public API" and "Legacy domain")."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .errors import Unavailable
from .session import Body

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import ApiSession


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of a topic; its payload is the unchanged JSON text, as bytes."""

    message_id: str
    payload: msgspec.Raw
    time: str


class Messages(NamedTuple):
    """The response to a request: messages in topic order, and the time by the service's clock."""

    messages: list[Message]
    date: datetime | None = None


class Cursor(NamedTuple):
    """Where to start: after a message, since a time, or at the earliest message."""

    after_message_id: str | None = None
    since_time: str | None = None


EARLIEST = Cursor()


class ConsumeClient:
    """Consumes one topic; not thread-safe.

    Args:
        session: The session, whose subject is the topic.
        topic_id: The id of the topic.
        split: Splits the body of a response into messages; raises ValueError if it is not a page.
    """

    def __init__(
        self, session: ApiSession, topic_id: int, split: Callable[[bytes], list[Message]]
    ) -> None:
        path = "/api/pubsub" if session.host.legacy else "/api/v1"
        self.session = session
        self.requests = 0
        self._split = split
        self._must_connect = True
        # One prepared request with changing bodies, because preparing takes longer than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/consume")

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
            cursor: Where to start.
            batch_size: The maximum number of messages, 1 to 50.
            timeout_secs: The maximum time in seconds that the service waits for a message, 0 to 60.
            while_waiting: Called at least once: after the request has been sent, and before any
                long wait. It must not raise, because its error would be taken for a network error.

        Returns:
            The messages; empty if there are none after the cursor.

        Raises:
            RequestRejected: The service rejected the request; a retry would not help.
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
        # Opening a new connection may take long.
        self._must_connect = response.is_last
        try:
            messages = self._split(response.content)
        except ValueError:
            raise self.session.unexpected(response) from None
        return Messages(messages, date=response.date)


def parse_time(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time with an offset; return None for any other text."""
    try:
        time = msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return None
    return time if time.tzinfo else None


def rfc3339(time: datetime, timespec: str = "seconds") -> str:
    """Format a time for the API, truncated to ``timespec``."""
    return time.astimezone(timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")
