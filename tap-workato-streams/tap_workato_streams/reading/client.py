"""All HTTP of the tap: consuming messages, and asking the Developer API for topics."""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar

import msgspec

from ..event_streams.errors import Unavailable, http_date, unreadable
from ..event_streams.rate_limiter import RateLimiter
from ..event_streams.retry import retrying
from ..event_streams.session import ApiSession
from ..event_streams.while_waiting import Body
from ..plugin.common_settings import base_url, developer_url
from .pages import Page, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("tap-workato-streams")

DEVELOPER_REQUESTS_PER_MINUTE = 60
TOPICS_PER_PAGE = 100
AGENT = "tap-workato-streams"
JSON = {"Content-Type": "application/json"}
# As urllib3 counts the versions of HTTP.
HTTP_1_1 = 11

# All answers of a second have the same date.
_date = functools.lru_cache(maxsize=1)(http_date)


class Cursor(NamedTuple):
    """From where to consume: after a message, or since a time, or from the earliest message."""

    after_message_id: str | None = None
    since_time: str | None = None


EARLIEST = Cursor()


class WorkspaceTopic(msgspec.Struct):
    """A topic as the Developer API describes it; ``retention`` is in seconds."""

    id: int
    name: str
    retention: float | None = None
    schema: list[dict[str, Any]] | None = None


class _Topics(msgspec.Struct):
    data: list[WorkspaceTopic]
    count: int | None = None


class ConsumeClient:
    """Consumes one topic; for the use of one thread at a time.

    Args:
        config: The settings of the tap.
        topic_id: The id of the topic.
        what: How to name the topic in a log line or an error.
        limiter: The limiter that all clients of the process share.
    """

    def __init__(
        self, config: Mapping[str, Any], topic_id: int, what: str, limiter: RateLimiter
    ) -> None:
        path = "/api/pubsub" if config["legacy_api"] else "/api/v1"
        self.what = what
        self.requests = 0
        self._limiter = limiter
        self._must_connect = True
        url = f"{base_url(config)}{path}/topics/{topic_id}/consume"
        self._session = ApiSession(
            url,
            config["api_token"],
            agent=AGENT,
            timeout_secs=config["request_timeout_secs"],
        )
        # One prepared request with a new body each time: preparing costs more than sending.
        self._request = self._session.prepare("POST", url, headers=JSON)
        self._send = _retried(self._send_once, config, limiter)

    def consume(
        self,
        cursor: Cursor,
        *,
        batch_size: int,
        timeout_secs: int = 0,
        while_waiting: Callable[[], None] = lambda: None,
    ) -> Page:
        """Ask for the messages after a cursor (contract: "Public API", consume).

        Args:
            cursor: From where to consume.
            batch_size: The most messages to ask for, 1 to 50.
            timeout_secs: How many seconds the service may wait for a message, 0 to 60.
            while_waiting: What to do once the request is on its way, or sooner if that may take its
                time. It is called once or more, and must not raise: to the connection its error
                would be one of its own.

        Returns:
            A page; without messages when there are none after the cursor.

        Raises:
            RequestRejected: The service refused the request; no retry helps.
            Unavailable: It did not answer properly for as long as ``max_retry_secs``.
        """
        body: dict[str, Any] = {"batch_size": batch_size}
        if cursor.after_message_id is not None:
            body["after_message_id"] = cursor.after_message_id
        elif cursor.since_time is not None:
            body["since_time"] = cursor.since_time
        if timeout_secs:
            body["timeout_secs"] = timeout_secs
        if self._must_connect or not self._limiter.is_free:
            while_waiting()
        return self._send(Body(msgspec.json.encode(body), while_waiting), timeout_secs)

    def _send_once(self, body: Body, timeout_secs: int) -> Page:
        self.requests += 1
        try:
            response = self._session.ask(
                self._request,
                what=self.what,
                body=body,
                poll_secs=timeout_secs,
            )
        except Unavailable:
            body.while_waiting()
            raise
        # The service ends the connection after this answer, and a new one may take its time.
        closes = response.headers.get("Connection", "").lower() == "close"
        self._must_connect = closes or response.raw.version < HTTP_1_1
        try:
            messages = split(response.content)
        except ValueError:
            raise unreadable(response, what=self.what) from None
        return Page(messages, date=_date(response.headers.get("Date", "")))


def workspace_topics(config: Mapping[str, Any]) -> Iterator[WorkspaceTopic]:
    """Ask the Developer API for all topics of the workspace (contract: "Developer API").

    Args:
        config: The settings of the tap, with a ``developer_api_token``.

    Yields:
        The topics, in the order of the API.

    Raises:
        RequestRejected: The Developer API refused the request.
        Unavailable: It did not answer properly for as long as ``max_retry_secs``.
    """
    what, token = "Developer API", "developer_api_token"
    url = f"{developer_url(config)}/api/event_streams/topics"
    connection = ApiSession(
        url,
        config[token],
        agent=AGENT,
        timeout_secs=config["request_timeout_secs"],
        setting=token,
    )

    def get_once(page: int) -> _Topics:
        params = {"page": page, "per_page": TOPICS_PER_PAGE, "include_schema": "true"}
        response = connection.ask(connection.prepare("GET", url, params=params), what=what)
        try:
            return msgspec.json.decode(response.content, type=_Topics)
        except msgspec.DecodeError:
            raise unreadable(response, what=what, token=token) from None

    get = _retried(get_once, config, RateLimiter(DEVELOPER_REQUESTS_PER_MINUTE))
    seen: set[int] = set()
    with contextlib.closing(connection):
        for page in itertools.count(1):
            answer = get(page)
            # A topic comes again where one before it was created or deleted since, and all of
            # them where a service knows no pages.
            new = [topic for topic in answer.data if topic.id not in seen]
            yield from new
            seen.update(topic.id for topic in new)
            counted = answer.count is not None and len(seen) >= answer.count
            # A full page may be counted by itself.
            if not new or (counted and len(answer.data) < TOPICS_PER_PAGE):
                return


def _retried(
    request: Callable[P, T],
    config: Mapping[str, Any],
    limiter: RateLimiter,
) -> Callable[P, T]:
    def tell(exc: Unavailable, wait: float) -> None:
        logger.warning("%s; trying again in %.1f s", exc, wait)

    return retrying(limiter, max_retry_secs=config["max_retry_secs"], on_retry=tell)(request)
