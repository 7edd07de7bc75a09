"""Consuming one topic: cursors, pages, and the search for the end of a topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import MAXYEAR, MINYEAR, datetime, timedelta, timezone
from functools import partial
from typing import Annotated, NamedTuple

import msgspec

from ..event_streams import logger
from .errors import RequestRejected, ServiceError
from .json import check_utf8, elements, members
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


# The statuses that a cursor may cause. The token or the quota is the cause of all other 4xx
# (docs/api.md, "Assumptions").
MAY_BE_THE_CURSOR = frozenset(range(400, 500)) - {401, 403, 408, 429}
SECS_BETWEEN_REPEATS = 2.0
# A younger message may not be readable yet (docs/api.md, "Assumptions").
YOUNG = timedelta(seconds=10)
# With a larger difference, the service's clock is used instead of the local one.
SMALL_SKEW = timedelta(minutes=1)
# The factor by which the search goes further back in each step, and the limit of the last step.
GROWTH = 16
LONGEST_LOOK_BACK = timedelta(days=10_000)
# Reading the messages of this time takes about as many requests as searching in it.
SHORTEST_INTERVAL = timedelta(seconds=1)


class CursorExpired(RequestRejected):
    """The message of a cursor has expired or was purged."""

    def __init__(self, cause: RequestRejected, now: datetime, left: Sequence[Message]) -> None:
        super().__init__(str(cause), status=cause.status, reason=cause.reason)
        self.now = now  # by the service's clock
        self.until = left[0].time or "now" if left else "now"  # the earliest message that is left


class ConsumeClient:
    """Consumes one topic; not thread-safe."""

    def __init__(self, session: ApiSession, topic_id: int) -> None:
        path = "/api/pubsub" if session.host.legacy else "/api/v1"
        self.session = session
        self.requests = 0  # Those that were sent.
        self.failure: ServiceError | None = None  # The error of the last request.
        self.polls_since = 0.0  # When the last request was sent, if it is a long poll.
        self.now: Callable[[], datetime] = partial(datetime.now, timezone.utc)
        self._has_warned = False
        # One prepared request with changing bodies, because preparing takes longer than sending.
        self._request = session.prepare("POST", f"{path}/topics/{topic_id}/consume")

    def consume(
        self,
        cursor: Cursor,
        *,
        batch_size: int,
        timeout_secs: int = 0,
        published_at: datetime | None = None,
    ) -> Messages:
        """Request up to 50 messages after a cursor, waiting up to 60 seconds if there are none.

        Raises CursorExpired, RequestRejected if a retry would not help for another reason, and
        GaveUp after ``max_retry_secs``.

        The API does not document the status for an expired message id. If a request succeeds
        without the cursor, and is rejected again with it, the message has expired or was purged.
        Otherwise, the topic was the cause, or the rejection was transient. The tap repeats the
        request at once, because its cursors have been read. The target, whose messages may not be
        readable yet, gives the time at which the message was published, and repeats until then.
        """
        try:
            return self.request(cursor, batch_size, timeout_secs)
        except RequestRejected as exc:
            if cursor.after_message_id is None or exc.status not in MAY_BE_THE_CURSOR:
                raise
            rejection = exc
        try:
            earliest = self.request(EARLIEST, 1)
        except RequestRejected:
            raise rejection from None
        now = earliest.date or self.now()
        age = now - published_at if published_at else YOUNG
        wait_secs = min(YOUNG - age, YOUNG).total_seconds()
        while True:
            try:
                found = self.request(cursor, batch_size, timeout_secs)
            except RequestRejected as exc:
                if exc.status not in MAY_BE_THE_CURSOR:
                    raise
                if wait_secs <= 0:
                    raise CursorExpired(exc, now, earliest.messages) from None
            else:
                logger.info(
                    "%s: ignored HTTP %s (%s), because the same request succeeded when repeated",
                    self.session.subject,
                    rejection.status,
                    rejection.reason,
                )
                return found
            self.session.limiter.sleep(SECS_BETWEEN_REPEATS)
            wait_secs -= SECS_BETWEEN_REPEATS

    def newest_page(self, batch_size: int, *, even_if_idle: bool) -> tuple[str, Messages]:
        """Find the newest page of the topic; return the time after which it begins, too.

        If there is no message of the last seconds by the service's clock, the page is empty.
        ``even_if_idle``, the search goes back in growing steps, and the page is empty only if the
        topic is. If there is more than a page, the search bisects the last step.
        """

        def fetch(since: datetime) -> Messages:
            return self.consume(Cursor(since_time=_precise(since)), batch_size=batch_size)

        newer = self.now()
        page = fetch(newer - YOUNG)
        if page.date and not timedelta() <= page.date - newer + YOUNG <= SMALL_SKEW:
            newer = page.date
            page = fetch(newer - YOUNG)
        now, since = newer, newer - YOUNG
        # Without the service's clock, the local one may be fast, and a time in the future means now
        # (docs/api.md, "Messages"), which would skip the messages until then.
        searches = not page.messages and (even_if_idle or page.date is None)
        if searches and not self.consume(EARLIEST, batch_size=1).messages:
            return _precise(now - LONGEST_LOOK_BACK), page
        while searches and not page.messages and now - since < LONGEST_LOOK_BACK:
            newer, since = since, now - min((now - since) * GROWTH, LONGEST_LOOK_BACK)
            page = fetch(since)
        while len(page.messages) >= batch_size and newer - since > SHORTEST_INTERVAL:
            middle = since + (newer - since) / 2
            if (found := fetch(middle)).messages:
                since, page = middle, found
            else:
                newer = middle
        return _precise(since), page

    def request(self, cursor: Cursor, batch_size: int, timeout_secs: int = 0) -> Messages:
        """Send one request, retried; RequestRejected if a retry would not help."""
        body = {"batch_size": batch_size, **cursor._asdict(), "timeout_secs": timeout_secs}
        sent = msgspec.json.encode({name: value for name, value in body.items() if value})
        return self.session.retry(lambda: self._request_once(sent, timeout_secs))

    def _request_once(self, body: bytes, timeout_secs: int) -> Messages:
        self.polls_since = time.monotonic() if timeout_secs else 0.0
        try:
            response = self.session.send(self._request, body=body, poll_secs=timeout_secs)
            messages = split_page(response.content)
        except ServiceError as exc:
            self.failure = exc
            raise
        except ValueError:
            self.failure = self.session.unexpected(response)
            raise self.failure from None
        finally:
            self.requests = self.session.requests
        self.failure = None
        return Messages([self._checked(message) for message in messages], date=response.date)

    def _checked(self, message: Message) -> Message:
        if not message.message_id:
            raise ServiceError(
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


def _precise(time: datetime) -> str:
    return rfc3339(time, "milliseconds")


# Line breaks in JSON strings are escaped, so all others are white space.
_BREAKS = bytes.maketrans(b"\n\r", b"  ")


class _Body(msgspec.Struct, frozen=True):
    messages: list[Message]


_decode_page = msgspec.json.Decoder(_Body).decode


def split_page(body: bytes) -> list[Message]:
    """Split the body of a consume response into messages with unchanged payloads.

    Line breaks become spaces, since each payload becomes part of a line. Raises ValueError if the
    body is not UTF-8, not JSON, or not a page of messages.
    """
    check_utf8(body)
    if b"\n" in body or b"\r" in body:
        body = body.translate(_BREAKS)
    try:
        return _decode_page(body).messages
    except (msgspec.DecodeError, RecursionError):
        return _split_slowly(body)


def _split_slowly(body: bytes) -> list[Message]:
    """Split a page that msgspec rejects: lone surrogates, very deep nesting, unusable times."""
    try:
        return [_message(members(part)) for part in elements(members(body)["messages"])]
    except KeyError as exc:
        raise ValueError("not a page of messages") from exc


def _message(parts: dict[str, bytes]) -> Message:
    time = msgspec.json.decode(parts.get("time", b"null"))
    return Message(
        message_id=msgspec.json.decode(parts["message_id"], type=str),
        payload=msgspec.Raw(parts["payload"]),
        time=time if isinstance(time, str) else None,
    )
