"""Reading one topic: from its start to its end, over expired bookmarks, or on and on."""

from __future__ import annotations

import logging
import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..event_streams.errors import EventStreamsError, RequestRejected
from .client import EARLIEST, Cursor
from .pages import Bookmark, Page
from .positions import (
    cursor_after,
    cursor_instead,
    first_cursor,
    is_at_latest,
    is_near_retention,
    rfc3339,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..discovery.topics import Topic
    from ..limits import RunStart
    from .client import ConsumeClient

logger = logging.getLogger("tap-workato-streams")

TAIL_TIMEOUT_SECS = 50
# A poll that comes back empty sooner than this was no long poll: do not ask without end.
SHORTEST_POLL_SECS = 1.0
# Of these 4xx the cursor may be the cause. The others say that a token or the quota is at fault,
# whatever the cursor (contract: "What no page says").
MAY_BE_THE_CURSOR = frozenset(range(400, 500)) - {401, 403, 408, 429}
# How far before now the latest message is looked for: more than clocks of one service differ.
LOOK_BACK = timedelta(seconds=5)
# What the local clock may be behind without being set right before the latest is looked for.
SMALL_SKEW = timedelta(minutes=1)


class TopicConsumer:
    """Reads one topic, page by page.

    Args:
        topic: The topic.
        client: The client that consumes it.
        run_start: When the run began; all readers of a run share it.
        config: The settings of the tap.
        bookmark: The bookmark of the last run.
        tail: Whether to go on when the end is reached.
        while_waiting: What to do while the service is busy with a request; it must not raise.
    """

    def __init__(  # noqa: PLR0913
        self,
        topic: Topic,
        client: ConsumeClient,
        run_start: RunStart,
        config: Mapping[str, Any],
        *,
        bookmark: Bookmark | None,
        tail: bool,
        while_waiting: Callable[[], None],
    ) -> None:
        self.topic = topic
        self._client = client
        self._run_start = run_start
        self._bookmark = bookmark
        self._batch_size: int = config["batch_size"]
        self._timeout_secs: int = config.get("timeout_secs", TAIL_TIMEOUT_SECS if tail else 0)
        self._policy: str = config["on_expired_bookmark"]
        self._tail = tail
        self._while_waiting = while_waiting

    def pages(self) -> Iterator[Page]:
        """Read the topic.

        Yields:
            The pages that hold messages, and what else moves the bookmark. Without ``tail`` they
            end at an empty page, or after the page that holds a message newer than the run.

        Raises:
            ServiceError: The service refused a request, or could not be reached for too long.
            EventStreamsError: The bookmark has expired, and the settings say to stop then.
        """
        given = self._bookmark
        cursor = first_cursor(self.topic, given)
        if is_at_latest(self.topic, given):
            self._bookmark = self._latest()
            yield Page([], start=self._bookmark)
            if not self._tail and not self._timeout_secs:
                return
            cursor = cursor_after(self._bookmark)
        while True:
            asked_at = time.monotonic()
            page, cursor = self._consume(cursor)
            if given:
                self._warn_near_retention(given, page)
                given = None
            if page.messages:
                yield page
            if self._is_end(page):
                return
            if not page.messages:
                time.sleep(max(0.0, SHORTEST_POLL_SECS - (time.monotonic() - asked_at)))

    def _latest(self) -> Bookmark:
        """Find the bookmark behind the latest message, and pass over what stands before it.

        With no message of late to name, it is the time since which none has come: it is told at
        once, and this run and the next go on from it without missing or repeating anything.
        """
        since = datetime.now(timezone.utc) - LOOK_BACK
        page = self._ask(Cursor(since_time=rfc3339(since)), 0)
        self._run_start.see(page.date)
        now = page.date or since + LOOK_BACK
        if not timedelta() <= now - since <= SMALL_SKEW:
            since = now - LOOK_BACK
            page = self._ask(Cursor(since_time=rfc3339(since)), 0)
        latest = Bookmark(None, rfc3339(since))
        while last := page.bookmark():
            latest = last
            if self._run_start.precedes(latest.time):
                break
            page = self._ask(cursor_after(latest), 0)
        return latest

    def _consume(self, cursor: Cursor) -> tuple[Page, Cursor]:
        """Ask for the page after a cursor, and say where the next one begins."""
        try:
            page = self._ask(cursor, self._timeout_secs)
        except RequestRejected as refusal:
            if cursor.after_message_id is None or refusal.status not in MAY_BE_THE_CURSOR:
                raise
            cursor = self._probe(refusal)
            page = self._ask(cursor, self._timeout_secs)
        self._run_start.see(page.date)
        if bookmark := page.bookmark():
            self._bookmark = bookmark
            cursor = cursor_after(bookmark)
        return page, cursor

    def _ask(self, cursor: Cursor, timeout_secs: int) -> Page:
        return self._client.consume(
            cursor,
            batch_size=self._batch_size,
            timeout_secs=timeout_secs,
            while_waiting=self._while_waiting,
        )

    def _probe(self, refusal: RequestRejected) -> Cursor:
        """Find out whether the cursor was at fault, and where to go on if it was.

        The API does not say which status an expired message id has: if the same call works
        without it, it has expired or was purged. If not, the refusal was about the topic.
        """
        try:
            left = self._client.consume(EARLIEST, batch_size=1)
        except RequestRejected:
            raise refusal from None
        bookmark = self._bookmark or Bookmark(None, None)
        until = left.messages[0].time if left.messages else "now"
        told = (
            f"{self.topic}: bookmark {bookmark.message_id} has expired or was purged "
            f"({refusal.status}, {refusal.reason}); messages published between "
            f"{bookmark.time or 'an unknown time'} and {until} may be gone"
        )
        cursor = cursor_instead(self._policy, bookmark)
        if cursor is None:
            raise EventStreamsError(
                f"{told}; set on_expired_bookmark to earliest or since_time to go on",
            )
        place = (
            f"since {cursor.since_time}" if cursor.since_time else "at the earliest that is left"
        )
        logger.warning("%s; reading goes on %s", told, place)
        return cursor

    def _is_end(self, page: Page) -> bool:
        if self._tail:
            return False
        return not page.messages or self._run_start.precedes(page.messages[-1].time)

    def _warn_near_retention(self, given: Bookmark, page: Page) -> None:
        now = page.date or datetime.now(timezone.utc)
        if is_near_retention(self.topic, given, now):
            logger.warning(
                "%s: bookmark %s of %s nears the topic's retention of %.0f hours; run more often, "
                "or messages will be gone before they are read",
                self.topic,
                given.message_id,
                given.time,
                (self.topic.retention or 0) / 3600,
            )
