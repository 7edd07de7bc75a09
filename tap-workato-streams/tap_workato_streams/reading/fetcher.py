"""Fetches the pages of a topic, and detects expired cursors and repeated pages."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..event_streams.cursors import Repetition, consume_again
from ..event_streams.errors import RequestRejected
from .pages import Page

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..event_streams.consume import ConsumeClient, Cursor, Messages
    from .run_clock import RunClock
    from .topic import Topic

logger = logging.getLogger("tap-workato-streams")


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
            found = self._request(cursor, self._batch_size, poll_secs)
        except RequestRejected as rejection:
            found = consume_again(cursor, self._batch_size, rejection, self._request)
            logger.warning(
                "%s: ignoring a stray HTTP %s (%s); the same request worked when it was repeated",
                self._topic,
                rejection.status,
                rejection.reason,
            )
        page = Page(found.messages, found.date)
        if cursor.after_message_id is None:
            self._repetition = Repetition()
        if page.messages:
            last = page.messages[-1].message_id
            self._repetition.check(str(self._topic), cursor.after_message_id, last)
        self._clock.see(page)
        return page

    def _request(self, cursor: Cursor, batch_size: int, poll_secs: int = 0) -> Messages:
        return self._client.consume(
            cursor,
            batch_size=batch_size,
            timeout_secs=poll_secs,
            while_waiting=self.while_waiting,
        )
