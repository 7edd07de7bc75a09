"""The consumer of one topic: from its start position to its end, or on and on."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import EARLIEST, Cursor
from ..event_streams.errors import EventStreamsError, RequestRejected
from .pages import Bookmark, Page
from .positions import (
    cursor_after,
    cursor_instead,
    describe_start,
    first_cursor,
    is_near_retention,
    rfc3339,
    starts_at_latest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..event_streams.consume import ConsumeClient
    from ..settings import ReadSettings
    from .run_clock import RunClock
    from .topic import Topic

logger = logging.getLogger("tap-workato-streams")

# A long poll that returns an empty page sooner than this did not wait: do not request in a loop.
SHORTEST_POLL_SECS = 1.0
# The statuses that may be due to the cursor. The other 4xx are due to the token or the quota
# (contract: "What is undocumented, and what to assume").
MAY_BE_THE_CURSOR = frozenset(range(400, 500)) - {401, 403, 408, 429}
# How far back to look for the latest message: more than the clocks of one service differ.
LOOK_BACK = timedelta(seconds=5)
# How far the local clock may be behind the service's before the search is repeated by the latter.
SMALL_SKEW = timedelta(minutes=1)


def do_nothing() -> None:
    """Do nothing while the service handles a request."""


class TopicConsumer:
    """Consumes one topic, page by page.

    Args:
        topic: The topic.
        client: The client that consumes it.
        settings: How to consume it.
        clock: The clock that all consumers of a run share.
    """

    def __init__(
        self, topic: Topic, client: ConsumeClient, settings: ReadSettings, clock: RunClock
    ) -> None:
        self.topic = topic
        self.client = client
        self._settings = settings
        self._clock = clock
        self._bookmark: Bookmark | None = None
        self._while_waiting: Callable[[], None] = do_nothing

    def pages(
        self,
        bookmark: Bookmark | None,
        *,
        tail: bool = False,
        while_waiting: Callable[[], None] = do_nothing,
    ) -> Iterator[Page]:
        """Consume the topic.

        Args:
            bookmark: The bookmark of the last run; None to start where the settings say.
            tail: Whether to continue when the end is reached.
            while_waiting: Called while the service handles a request; must not raise.

        Yields:
            Pages with messages, and pages that only move the bookmark. Without ``tail``, the last
            one is followed by an empty page or contains a message newer than the run.

        Raises:
            ServiceError: The service rejected a request, or retries took too long.
            EventStreamsError: The bookmark has expired, and ``on_expired_bookmark`` is ``fail``.
        """
        self._bookmark = bookmark
        self._while_waiting = while_waiting
        poll_secs = self._settings.poll_secs(tail=tail)
        logger.info("%s: %s", self.topic, describe_start(self.topic, bookmark))
        cursor = first_cursor(self.topic, bookmark)
        if starts_at_latest(self.topic, bookmark):
            self._bookmark = self._latest()
            yield Page([], start=self._bookmark)
            if not tail and not poll_secs:
                return
            cursor = cursor_after(self._bookmark)
        while True:
            requested_at = time.monotonic()
            page, cursor = self._consume(cursor, poll_secs)
            if bookmark:
                self._warn_near_retention(bookmark, page)
                bookmark = None
            if page.messages:
                yield page
            if not tail and self._is_last(page):
                return
            if not page.messages:
                time.sleep(max(0.0, SHORTEST_POLL_SECS - (time.monotonic() - requested_at)))

    def _latest(self) -> Bookmark:
        """Find the bookmark of the latest message.

        If the topic has no recent message, the bookmark is a timestamp instead of a message id.
        """
        since = datetime.now(timezone.utc) - LOOK_BACK
        page = self._request(Cursor(since_time=rfc3339(since)))
        self._clock.see(page.date)
        now = page.date or since + LOOK_BACK
        if not timedelta() <= now - since <= SMALL_SKEW:
            since = now - LOOK_BACK
            page = self._request(Cursor(since_time=rfc3339(since)))
        latest = Bookmark(None, rfc3339(since))
        while last := page.bookmark():
            latest = last
            if self._clock.started_before(latest.time):
                break
            page = self._request(cursor_after(latest))
        return latest

    def _consume(self, cursor: Cursor, poll_secs: int) -> tuple[Page, Cursor]:
        """Request the page after a cursor; return it and the cursor of the next one."""
        try:
            page = self._request(cursor, poll_secs)
        except RequestRejected as rejection:
            if cursor.after_message_id is None or rejection.status not in MAY_BE_THE_CURSOR:
                raise
            cursor = self._probe(rejection)
            page = self._request(cursor, poll_secs)
        self._clock.see(page.date)
        if bookmark := page.bookmark():
            self._bookmark = bookmark
            cursor = cursor_after(bookmark)
        return page, cursor

    def _request(self, cursor: Cursor, poll_secs: int = 0) -> Page:
        found = self.client.consume(
            cursor,
            batch_size=self._settings.batch_size,
            timeout_secs=poll_secs,
            while_waiting=self._while_waiting,
        )
        return Page(found.messages, found.date)

    def _probe(self, rejection: RequestRejected) -> Cursor:
        """Find out whether the rejection was due to the cursor; return where to continue if so.

        The API does not document the status for an expired message id. If the same request works
        without it, the message has expired or was purged; otherwise the topic is the problem.
        """
        try:
            left = self.client.consume(EARLIEST, batch_size=1)
        except RequestRejected:
            raise rejection from None
        bookmark = self._bookmark or Bookmark(None, None)
        until = left.messages[0].time if left.messages else "now"
        line = (
            f"{self.topic}: bookmark {bookmark.message_id} has expired or was purged "
            f"({rejection.status}, {rejection.reason}); messages published between "
            f"{bookmark.time or 'an unknown time'} and {until} may be lost"
        )
        cursor = cursor_instead(self._settings.on_expired_bookmark, bookmark)
        if cursor is None:
            raise EventStreamsError(
                f"{line}; set on_expired_bookmark to earliest or since_time to continue",
            )
        position = cursor.since_time or "the earliest message"
        logger.warning("%s; continuing at %s", line, position)
        return cursor

    def _is_last(self, page: Page) -> bool:
        return not page.messages or self._clock.started_before(page.messages[-1].time)

    def _warn_near_retention(self, bookmark: Bookmark, page: Page) -> None:
        now = page.date or datetime.now(timezone.utc)
        if is_near_retention(self.topic, bookmark, now):
            logger.warning(
                "%s: bookmark %s (%s) is close to the topic's retention of %.0f hours; "
                "run more often, or messages will expire before they are read",
                self.topic,
                bookmark.message_id,
                bookmark.time,
                (self.topic.retention or 0) / 3600,
            )
