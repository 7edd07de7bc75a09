"""Consuming one topic: cursors, pages, and the search for the end of a topic."""

from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Annotated, NamedTuple

import msgspec

from ..event_streams import logger
from .errors import EventStreamsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session import ApiSession


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message of a topic; its payload is the unchanged JSON text, as bytes.

    Its time is an RFC 3339 time with an offset, or None if the service sent something else.
    """

    message_id: str
    payload: msgspec.Raw
    time: str | None = None


class Messages(NamedTuple):
    """A page of messages in topic order, and the time by the service's clock."""

    messages: list[Message]
    date: datetime | None = None


class Cursor(NamedTuple):
    """Where to start: after a message, since a time, or at the earliest message."""

    after_message_id: str | None = None
    since_time: str | None = None


EARLIEST = Cursor()


class ConsumeClient:
    """Consumes one topic; not thread-safe.

    ``split`` splits the body of a response into messages, and raises ValueError if it is no page.
    """

    def __init__(
        self, session: ApiSession, topic_id: int, split: Callable[[bytes], list[Message]]
    ) -> None:
        path = "/api/pubsub" if session.host.legacy else "/api/v1"
        self.session = session
        self.requests = 0
        self._split = split
        self._has_warned = False
        # One prepared request with changing bodies, because preparing takes longer than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/consume")

    def consume(self, cursor: Cursor, *, batch_size: int, timeout_secs: int = 0) -> Messages:
        """Request up to 50 messages after a cursor, waiting up to 60 seconds if there are none.

        Raises RequestRejected if a retry would not help, and GaveUp after ``max_retry_secs``.
        """
        body = {"batch_size": batch_size, **cursor._asdict(), "timeout_secs": timeout_secs}
        sent = msgspec.json.encode({name: value for name, value in body.items() if value})
        return self.session.retry(lambda: self._consume_once(sent, timeout_secs))

    def close(self) -> None:
        """Close the connection."""
        self.session.close()

    def _consume_once(self, body: bytes, timeout_secs: int) -> Messages:
        self.requests += 1
        response = self.session.send(self._request, body=body, poll_secs=timeout_secs)
        try:
            messages = self._split(response.content)
        except ValueError:
            raise self.session.unexpected(response) from None
        return Messages([self._checked(message) for message in messages], date=response.date)

    def _checked(self, message: Message) -> Message:
        if not message.message_id:
            raise EventStreamsError(
                f"{self.session.subject}: a message has an empty message_id, so no message after "
                "it can be requested; report this to the service's support"
            )
        if parse_time(message.time):
            return message
        if not self._has_warned:
            self._has_warned = True
            logger.warning(
                "%s: the time of message %s is not RFC 3339 with an offset, so it becomes null; "
                "the same applies to other such messages",
                self.session.subject,
                message.message_id,
            )
        return Message(message.message_id, message.payload)


# In the first and last year, converting to another offset may fail.
UNUSABLE_YEARS = frozenset({MINYEAR, MAXYEAR})
_Time = Annotated[datetime, msgspec.Meta(tz=True)]


def parse_time(text: str | None) -> datetime | None:
    """Parse an RFC 3339 time with an offset; return None for any other text."""
    try:
        time = msgspec.convert(text, _Time)
    except msgspec.ValidationError:
        return None
    return None if time.year in UNUSABLE_YEARS else time


def rfc3339(time: datetime, timespec: str = "seconds") -> str:
    """Format a time for the API, truncated to ``timespec``."""
    return time.astimezone(timezone.utc).isoformat(timespec=timespec).replace("+00:00", "Z")


# The statuses that a cursor may cause. The token or the quota is the cause of all other 4xx
# (docs/api.md, "Assumptions").
MAY_BE_THE_CURSOR = frozenset(range(400, 500)) - {401, 403, 408, 429}

# How far back a search for the end starts: messages may become readable seconds after they were
# acknowledged (docs/api.md, "Assumptions").
LOOK_BACK = timedelta(seconds=10)
# With a larger difference, the service's clock is used instead of the local one.
SMALL_SKEW = timedelta(minutes=1)
# The factor by which the search goes further back in each step, and the limit of the last step.
GROWTH = 16
LONGEST_LOOK_BACK = timedelta(days=10_000)
# Reading the messages of this time takes about as many requests as searching in it.
SHORTEST_INTERVAL = timedelta(seconds=1)


def recent_page(
    fetch_since: Callable[[datetime], Messages], now: datetime | None = None
) -> tuple[datetime, Messages]:
    """Request the messages of the last seconds by the service's clock; return their start, too."""
    since = (now or datetime.now(timezone.utc)) - LOOK_BACK
    page = fetch_since(since)
    if page.date and not timedelta() <= page.date - since <= SMALL_SKEW:
        since = page.date - LOOK_BACK
        page = fetch_since(since)
    return since, page


def newest_page(
    fetch_since: Callable[[datetime], Messages], page_size: int, since: datetime, page: Messages
) -> tuple[datetime, Messages]:
    """Find the newest page of a topic and its start, however long the topic has been idle.

    From the result of ``recent_page``, the search goes back in growing steps, then bisects the last
    step. The page is empty only if the topic is empty.
    """
    newer = now = since + LOOK_BACK
    while not page.messages and now - since < LONGEST_LOOK_BACK:
        newer, since = since, now - min((now - since) * GROWTH, LONGEST_LOOK_BACK)
        page = fetch_since(since)
    while len(page.messages) >= page_size and newer - since > SHORTEST_INTERVAL:
        middle = since + (newer - since) / 2
        if (found := fetch_since(middle)).messages:
            since, page = middle, found
        else:
            newer = middle
    return since, page
