"""Reads a topic to find out what it contains after a position."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

from ..event_streams import logger
from ..event_streams.consume import (
    EARLIEST,
    ConsumeClient,
    Cursor,
    CursorExpired,
    Message,
    Messages,
    parse_time,
    rfc3339,
)
from ..event_streams.errors import EventStreamsError, RequestRejected
from ..message_key import RowVersion, read_version
from ..plugin.monitoring import Interval
from ..plugin.wording import counted
from .store import Position

PAGE_SIZE = 50
FORBIDDEN = 403
# The maximum difference between the service's clocks. The Date header is in whole seconds, and
# that of an acknowledgement is later than the messages.
CLOCK_TOLERANCE = timedelta(seconds=6)
# How far the local clock may be behind the service's, if responses have no Date header.
LOCAL_TOLERANCE = timedelta(minutes=1)
# A message is readable within this time (docs/api.md, "Assumptions").
READABLE_SECS = 5
# The maximum number of successive restarts from the earliest message that bring nothing new.
MAX_RESTARTS = 3
PROGRESS_SECS = 20.0
# How much of a topic is read for a new store.
DAY = timedelta(days=1)


class LookUp:
    """What is wanted of a topic, and what has been read of it.

    A message counts once, however often the service delivers it. After a rejected position, the
    topic is read from its earliest message: reading old messages again changes nothing, since the
    last version of a row wins.

    It ends with the versions that are wanted, or else at the end of the topic, where it waits for
    messages that are not readable yet.
    """

    def __init__(
        self, start: Position, wanted: Counter[RowVersion] | None = None, *, is_new: bool = False
    ) -> None:
        self.start = start
        self.last = start  # The last message that was read, after which the next page starts.
        self.is_new = is_new  # Whether the last day is read, for a new store.
        self.is_whole = True  # Whether everything after the position was read.
        self.contents: dict[str, str] = {}  # The last content of each row, by row.
        self.unkeyed: Counter[RowVersion] = Counter()  # Wanted ones of rows without a key.
        self.ours = 0  # Messages with a message key.
        self.ends_at: datetime | None = None  # From here on, messages are newer than the look-up.
        self.interval = Interval(PROGRESS_SECS)  # Of the lines about the progress.
        self._wanted = wanted
        self._rows = {version.row for version in wanted or ()}
        self._seen = {start.message_id}
        self._has_news = False  # Whether the current page has a message that was not read before.
        self._pages_without_news = self._restarts_without_news = 0

    @property
    def messages(self) -> int:
        """The number of different messages that were read."""
        return len(self._seen - {self.start.message_id})

    @property
    def end(self) -> Position:
        """The position after the look-up; if the topic has no message, a time before it."""
        if self.last.message_id or self.ends_at is None:
            return self.last
        return Position(None, rfc3339(self.ends_at - 2 * LOCAL_TOLERANCE))

    @property
    def is_complete(self) -> bool:
        """Whether all wanted versions have been found after a position that was not rejected."""
        if self._wanted is None or not self.is_whole:
            return False
        return all(
            self.contents.get(version.row) == version.content
            if version.is_keyed
            else self.unkeyed[version] >= count
            for version, count in self._wanted.items()
        )

    @property
    def is_stuck(self) -> bool:
        """Whether the service repeats pages or rejects every cursor.

        Reading again from the earliest message takes at most as many pages as messages were seen.
        """
        return (
            self._pages_without_news > len(self._seen) + 1
            or self._restarts_without_news > MAX_RESTARTS
        )

    def add(self, message: Message, version: RowVersion | None) -> None:
        """Add the next message of a page, with its version if it is one of ours."""
        if message.message_id in self._seen:
            return
        self._seen.add(message.message_id)
        self.last = Position(message.message_id, message.time)
        self._has_news = True
        if version is None:
            return
        self.ours += 1
        if version.is_keyed and (self.is_new or version.row in self._rows):
            self.contents[version.row] = version.content
        elif self._wanted and version in self._wanted:
            self.unkeyed[version] += 1

    def end_page(self, last: Message) -> None:
        """Mark the end of a page, whose last message may have been read before."""
        if self._has_news:
            self._has_news, self._pages_without_news, self._restarts_without_news = False, 0, 0
        else:
            self.last = Position(last.message_id, last.time)
            self._pages_without_news += 1

    def restart(self) -> None:
        """Read on from the earliest message, because the topic does not have the last one."""
        self.is_whole = False
        self._seen.discard(self.start.message_id)  # it may be the last version of a row in doubt
        self.last = Position(None)
        self._restarts_without_news += 1


class TopicReader:
    """Reads one topic, before its first record and after lost responses; not thread-safe.

    All methods raise `ServiceError` if the topic cannot be read.
    """

    def __init__(self, client: ConsumeClient, label: str, key_field: str) -> None:
        self.label = label  # The topic and its streams, for errors and log lines.
        self.client = client
        self._key_field = key_field  # The field of a payload that contains the message key.
        # How far the service's clock is ahead of the local one, according to the last Date header.
        self._ahead = timedelta(0)
        self._is_undated = False
        self._current: LookUp | None = None
        self._requests_before = 0

    def report_progress(self) -> None:
        """Log how far the topic has been read, if that takes long; in any thread."""
        look_up = self._current
        if look_up and not look_up.interval.left:
            look_up.interval.restart()
            logger.info(
                "%s: still reading: %s messages in %s, %d of them ours, now at %s",
                self.label,
                f"{look_up.messages:,}",
                self._counted_requests,
                look_up.ours,
                look_up.last.time or "the beginning",
            )

    def read(self, look_up: LookUp) -> None:
        """Read to the end of the topic, or until the look-up is complete."""
        self._requests_before, self._current = self.client.requests, look_up
        poll_secs = 0
        while True:
            page = self._next_page(look_up, poll_secs)
            if self._add_page(look_up, page) or (poll_secs and not page.messages):
                break
            if look_up.is_new and not look_up.ours and not page.messages:
                break
            # A request of an interrupted run may have been applied just now.
            poll_secs = 0 if page.messages else READABLE_SECS
        self._current = None
        logger.info(
            "%s: read %s, %s of them with a message key (%s)",
            self.label,
            counted(look_up.messages, "message"),
            f"{look_up.ours:,}",
            self._counted_requests,
        )

    @property
    def _counted_requests(self) -> str:
        return counted(self.client.requests - self._requests_before, "request")

    def _add_page(self, look_up: LookUp, page: Messages) -> bool:
        """Add a page; return whether it shows that there is nothing more to read."""
        tolerance = LOCAL_TOLERANCE if self._is_undated else CLOCK_TOLERANCE
        look_up.ends_at = look_up.ends_at or self._now() + tolerance
        if not page.messages:
            return False
        for message in page.messages:
            look_up.add(message, read_version(bytes(message.payload), self._key_field))
        last = page.messages[-1]
        look_up.end_page(last)
        if look_up.is_stuck:
            raise EventStreamsError(
                f"{self.label}: the service returned message {last.message_id} again after it was "
                "read; run again, and report this to the service's support if it persists"
            )
        published = parse_time(last.time)
        is_newer = published is not None and published >= look_up.ends_at
        return is_newer or look_up.is_complete

    def _next_page(self, look_up: LookUp, poll_secs: int) -> Messages:
        """Request the page after the last message, or the earliest one if that is rejected."""
        last = look_up.last
        cursor = Cursor(after_message_id=last.message_id)
        if last.message_id is None and look_up.is_whole:
            day_before = rfc3339(self._now() - DAY)
            cursor = Cursor(since_time=day_before if look_up.is_new else last.time)
        # If the time is unknown, the message may have been published just now.
        published_at = parse_time(last.time) or self._now()
        try:
            return self._consume(cursor, poll_secs, published_at)
        except CursorExpired as expired:
            look_up.restart()
            if look_up.is_stuck:
                raise
            if last is look_up.start:
                self._warn_rejected(look_up, expired)
        return self._consume(EARLIEST, poll_secs)

    def _consume(
        self, cursor: Cursor, poll_secs: int, published_at: datetime | None = None
    ) -> Messages:
        page = partial(self.client.consume, cursor, batch_size=PAGE_SIZE, timeout_secs=poll_secs)
        return self._request(partial(page, published_at=published_at))

    def _request(self, request: Callable[[], Messages]) -> Messages:
        """Request a page, and compare the service's clock with the local one."""
        try:
            page = request()
        except RequestRejected as exc:
            if exc.status != FORBIDDEN:
                raise
            raise EventStreamsError(
                f"{self.label}: HTTP 403 ({exc.reason}) when consuming; exactly_once reads the "
                "topics that it publishes to: give the API client of api_token permission to "
                "consume from this topic, too"
            ) from exc
        if page.date is not None:
            self._ahead = page.date - self.client.now()
        elif not self._is_undated:
            self._is_undated = True
            logger.warning(
                "%s: responses have no Date header, so the local clock decides where to stop "
                "reading; if it is slow by more than a minute, exactly_once cannot apply to this "
                "run",
                self.label,
            )
        return page

    def _now(self) -> datetime:
        """Return the time by the service's clock, or else by the local one."""
        return self.client.now() + self._ahead

    def _warn_rejected(self, look_up: LookUp, rejection: RequestRejected) -> None:
        logger.warning(
            "%s: position %s was rejected (HTTP %s: %s): has the message expired, or is it in "
            "another topic or workspace? Reading from the earliest message; rows of an interrupted "
            "run that are not found are published again",
            self.label,
            look_up.start.message_id,
            rejection.status,
            rejection.reason,
        )
