"""Fetches the pages of a topic, and detects expired cursors and repeated pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..event_streams.consume import EARLIEST, MAY_BE_THE_CURSOR
from ..event_streams.errors import RequestRejected
from ..event_streams.repetition import Repetition
from .pages import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..event_streams.consume import ConsumeClient, Cursor
    from .run_clock import RunClock
    from .topic import Topic

logger = logging.getLogger("tap-workato-streams")


class CursorExpired(RequestRejected):
    """The message of a cursor has expired or was purged; ``until`` is the earliest time left."""

    until = "now"


class PageFetcher:
    """Requests one page after another.

    Args:
        topic: The topic.
        client: The client that consumes it.
        clock: The clock of the run, which is updated with each page.
        batch_size: Maximum number of messages per page.
    """

    def __init__(
        self, topic: Topic, client: ConsumeClient, clock: RunClock, batch_size: int
    ) -> None:
        self.while_waiting: Callable[[], None] = lambda: None
        self._topic = topic
        self._client = client
        self._clock = clock
        self._batch_size = batch_size
        self._repetition = Repetition()

    def fetch(self, cursor: Cursor, poll_secs: int = 0) -> Page:
        """Request the page after a cursor.

        Args:
            cursor: Where to start.
            poll_secs: The maximum time in seconds that the service waits for messages.

        Raises:
            CursorExpired: The message of the cursor no longer exists.
            ServiceError: The service rejected the request, or retries took too long.
            EventStreamsError: The service returned a page that it has returned before.
        """
        try:
            page = self._request(cursor, poll_secs)
        except RequestRejected as rejection:
            if cursor.after_message_id is None or rejection.status not in MAY_BE_THE_CURSOR:
                raise
            page = self._probe(cursor, rejection)
        if cursor.after_message_id is None:
            self._repetition = Repetition()
        if page.messages:
            last = page.messages[-1].message_id
            self._repetition.check(str(self._topic), cursor.after_message_id, last)
        self._clock.see(page)
        return page

    def _probe(self, cursor: Cursor, rejection: RequestRejected) -> Page:
        """Find out whether the cursor was the cause of a rejection; return the page if it was not.

        The API does not document the status for an expired message id. If the request succeeds
        without the cursor, and is rejected again with it, the message has expired or was purged.
        Otherwise, the topic was the cause, or the rejection was transient.
        """
        try:
            earliest = self._client.consume(EARLIEST, batch_size=1).messages
        except RequestRejected:
            raise rejection from None
        try:
            page = self._request(cursor, 0)
        except RequestRejected as again:
            if again.status not in MAY_BE_THE_CURSOR:
                raise
            expired = CursorExpired(str(again), status=again.status, reason=again.reason)
            expired.until = earliest[0].time if earliest else "now"
            raise expired from None
        logger.warning(
            "%s: ignoring a stray HTTP %s (%s); the same request worked when it was repeated",
            self._topic,
            rejection.status,
            rejection.reason,
        )
        return page

    def _request(self, cursor: Cursor, poll_secs: int) -> Page:
        found = self._client.consume(
            cursor,
            batch_size=self._batch_size,
            timeout_secs=poll_secs,
            while_waiting=self.while_waiting,
        )
        return Page(found.messages, found.date)
