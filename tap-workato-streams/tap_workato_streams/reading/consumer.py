"""The consumer of one topic, which reads to the end of the topic or, in tail mode, continuously."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import datetime, timezone

from ..event_streams import logger
from ..event_streams.consume import ConsumeClient, Cursor, CursorExpired, Messages, parse_time
from ..event_streams.errors import EventStreamsError
from ..settings import ReadSettings
from .bookmarks import Bookmark, Page, Topic, cursor_after, replacement_cursor, start
from .clock import RunClock

# A long poll that returns an empty page sooner did not wait, and must not be repeated immediately.
SHORTEST_POLL_SECS = 1.0
# The share of the retention after which a bookmark is close to expiring.
NEAR_RETENTION = 0.8


class TopicConsumer:
    """Consumes one topic, page by page; all consumers of a run share a clock."""

    def __init__(
        self, topic: Topic, client: ConsumeClient, settings: ReadSettings, clock: RunClock
    ) -> None:
        self.topic = topic
        self.client = client
        self._settings = settings
        self._clock = clock

    def pages(self, bookmark: Bookmark | None, *, tail: bool = False) -> Iterator[Page]:
        """Consume the topic after a bookmark, or else from where the settings say.

        A page without messages may move the bookmark. Without ``tail``, the pages end with an empty
        one, with a message that is newer than the start of the run, or with the last message before
        ``end_date``.
        """
        self._bookmark = bookmark
        self._given_up: set[str] = set()
        poll_secs = self._settings.poll_secs(tail=tail)
        cursor, description = start(self.topic, bookmark)
        end = parse_time(self.topic.end_date)
        until = f", reading up to {self.topic.end_date} (end_date)" if end else ""
        logger.info("%s: %s%s", self.topic, description, until)
        if cursor is None:
            self._bookmark = self._latest()
            yield Page([], position=self._bookmark)
            if not tail and not poll_secs:
                return
            cursor = cursor_after(self._bookmark)
        while True:
            requested_at = time.monotonic()
            page, cursor = self._next_page(cursor, poll_secs)
            if bookmark:
                self._warn_near_retention(bookmark, page)
                bookmark = None
            if end:
                page = page.until(end)
            is_last = page.is_last or self._clock.started_before(page.messages[-1].time)
            is_empty = not page.messages
            yield page
            del page  # A large page must not be in memory together with the next one.
            if is_last and not tail:
                return
            if is_empty:
                time.sleep(max(0.0, SHORTEST_POLL_SECS - (time.monotonic() - requested_at)))

    def _latest(self) -> Bookmark:
        """Find the bookmark of the latest message.

        If the topic has no recent message, it is a timestamp instead of a message id.
        """
        since, found = self.client.newest_page(self._settings.batch_size, even_if_idle=False)
        self._clock.set_start(found.date)
        latest = Bookmark(None, since)
        while found.messages:
            latest = Bookmark(found.messages[-1].message_id, found.messages[-1].time)
            if self._clock.started_before(latest.time):
                break
            found = self._request(cursor_after(latest))
        return latest

    def _next_page(self, cursor: Cursor, poll_secs: int) -> tuple[Page, Cursor]:
        """Request the page after a cursor; return it and the cursor of the next one."""
        position = None
        try:
            found = self._request(cursor, poll_secs)
        except CursorExpired as expired:
            cursor, position = self._replace(cursor, expired)
            found = self._request(cursor, poll_secs)
        page = Page(found.messages, found.date, position, is_last=not found.messages)
        if page.messages and (bookmark := page.bookmark()):
            self._bookmark = bookmark
            cursor = cursor_after(bookmark)
        return page, cursor

    def _request(self, cursor: Cursor, poll_secs: int = 0) -> Messages:
        batch_size = self._settings.batch_size
        found = self.client.consume(cursor, batch_size=batch_size, timeout_secs=poll_secs)
        if found.messages and found.messages[-1].message_id == cursor.after_message_id:
            raise EventStreamsError(
                f"{self.topic}: the service returned message {cursor.after_message_id} again after "
                "it was read; run again, and report this to the service's support if it persists"
            )
        self._clock.set_start(found.date)
        return found

    def _replace(self, cursor: Cursor, expired: CursorExpired) -> tuple[Cursor, Bookmark | None]:
        """Return the cursor that replaces an expired one, and the bookmark of an empty topic."""
        message_id = str(cursor.after_message_id)
        if message_id in self._given_up:
            raise EventStreamsError(
                f"{self.topic}: the service rejects message {message_id} as a cursor although it "
                f"returned it ({expired.status}, {expired.reason}); run again, and report this to "
                "the service's support if it persists"
            )
        self._given_up.add(message_id)
        bookmark = self._bookmark or Bookmark(message_id, None)
        time = parse_time(bookmark.time)
        if time and time > expired.now:
            # The service would take it for now (docs/api.md, "Messages"), and skip what is there.
            bookmark = Bookmark(message_id, None)
        line = (
            f"{self.topic}: bookmark {message_id} has expired or was purged "
            f"({expired.status}, {expired.reason}); messages published between "
            f"{bookmark.time or 'an unknown time'} and {expired.until} may be lost"
        )
        new = replacement_cursor(self._settings.on_expired_bookmark, bookmark)
        if new is None:
            raise EventStreamsError(
                f"{line}; set on_expired_bookmark to earliest or since_time to continue"
            )
        logger.warning("%s; continuing at %s", line, new.since_time or "the earliest message")
        # If the topic is empty, all that it will contain is newer than this time.
        return new, Bookmark(None, bookmark.time) if bookmark.time else None

    def _warn_near_retention(self, bookmark: Bookmark, page: Page) -> None:
        time, retention = parse_time(bookmark.time), self.topic.retention
        if not (bookmark.message_id and page.messages and time and retention):
            return  # Without an unread message, none can expire unread.
        now = page.date or datetime.now(timezone.utc)
        if (now - time).total_seconds() > NEAR_RETENTION * retention:
            logger.warning(
                "%s: bookmark %s (%s) is close to the topic's retention of %.0f hours; "
                "run more often, or messages will expire before they are read",
                self.topic,
                bookmark.message_id,
                bookmark.time,
                retention / 3600,
            )
