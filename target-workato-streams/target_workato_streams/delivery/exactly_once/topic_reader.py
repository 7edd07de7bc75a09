"""Reads a topic: what an interrupted run has published after a position, and where it ends."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from ...event_streams import logger
from ...event_streams.consume import (
    EARLIEST,
    YOUNG,
    ConsumeClient,
    Cursor,
    CursorExpired,
    Message,
    Messages,
    parse_time,
    rfc3339,
)
from ...event_streams.errors import EventStreamsError, RequestRejected
from ...message_key import KEY, RowVersion, read_version
from ...plugin.monitoring import Interval
from ...plugin.wording import counted
from ..records import Position, R

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


class LookUp:
    """What has been read of a topic.

    A message counts once, however often the service delivers it. If the service rejects a position,
    nobody knows which messages are after it; then only those count that are newer.

    It ends with the versions that are wanted, or else at the end of the topic, where it may wait
    for messages of ours that are not readable yet.
    """

    def __init__(
        self, start: Position, wanted: Counter[RowVersion] | None = None, *, waits: bool = True
    ) -> None:
        self.start = start
        self.end = start  # The last message that counts.
        self.last = start  # The last message that was read, after which the next page starts.
        self.wanted = wanted
        self.waits = waits
        self.versions: list[RowVersion] = []  # Of our messages that count, in topic order.
        self.others = 0  # Messages of other producers.
        self.other_keys = 0  # Those of them that have a message key in another field.
        self.newer_than: datetime | None = None  # Only newer messages count; None if all do.
        self.is_unknown = False  # Whether no message counts, because that time is unknown.
        self.ends_at: datetime | None = None  # From here on, messages are newer than the look-up.
        self.interval = Interval(PROGRESS_SECS)  # Of the lines about the progress.
        self._seen = {start.message_id}
        self._has_news = False  # Whether the current page has a message that was not read before.
        self._pages_without_news = self._restarts_without_news = 0

    @property
    def messages(self) -> int:
        """The number of different messages that were read."""
        return len(self._seen) - 1

    @property
    def is_complete(self) -> bool:
        """Whether all wanted versions have been found."""
        return self.wanted is not None and not self.wanted - Counter(self.versions)

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
        counts = not self.is_unknown
        if counts and self.newer_than is not None:
            time = parse_time(message.time)
            counts = time is not None and time > self.newer_than
        # If the time of the position is unknown, the end of the topic is the best new position.
        if counts or self.is_unknown:
            self.end = self.last
        if version is None:
            self.others += 1
        elif counts:
            self.versions.append(version)

    def end_page(self, last: Message) -> None:
        """Mark the end of a page, whose last message may have been read before."""
        if self._has_news:
            self._has_news, self._pages_without_news, self._restarts_without_news = False, 0, 0
        else:
            self.last = Position(last.message_id, last.time)
            self._pages_without_news += 1

    def restart(self) -> None:
        """Read on from the earliest message, because the topic does not have the last one.

        The time of a message that this look-up has read is exact. That of the position may be the
        time of a response, and if it is unknown, no message counts.
        """
        time = parse_time(self.last.message_time)
        if time is None:
            self.is_unknown = True
        else:
            time += CLOCK_TOLERANCE if self.last is self.start else timedelta(0)
            self.newer_than = max(time, self.newer_than or time)
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
                len(look_up.versions),
                look_up.last.message_time or "the beginning",
            )

    def find_end(self) -> Position:
        """Find the last message of the topic without reading the whole topic."""
        look_up = self._begin(LookUp(Position(None), waits=False))
        page = self._request(lambda: self.client.newest_page(PAGE_SIZE, even_if_idle=True)[1])
        if page.messages and not self._add_page(look_up, page):
            self._read(look_up)
        self._current = None
        last = look_up.end.message_id
        logger.info(
            "%s: the state has no position for this topic; starting %s (%s)",
            self.label,
            f"after its last message, {last}" if last else "with an empty topic",
            self._counted_requests,
        )
        return look_up.end

    def look_up(self, position: Position) -> LookUp:
        """Read what an interrupted run may have published after a position."""
        after = f"after message {position.message_id}" if position.message_id else "in the topic"
        logger.info(
            "%s: reading the messages %s to see what an interrupted run has published",
            self.label,
            after,
        )
        look_up = self._begin(LookUp(position))
        self._read(look_up)
        versions = look_up.versions
        logger.info(
            "%s: found %s of %s %s, and %s of other producers (%s)%s",
            self.label,
            counted(len(versions), "version"),
            counted(len({version.row for version in versions}), "row"),
            after,
            counted(look_up.others, "message"),
            self._counted_requests,
            "; their records will be skipped" if versions else "",
        )
        if look_up.other_keys:
            logger.warning(
                "%s: found %s with a message key in another field than %s: if message_key_field "
                "was changed after an interrupted run, exactly_once cannot apply to its messages, "
                "and they are published again",
                self.label,
                counted(look_up.other_keys, "message"),
                self._key_field,
            )
        return look_up

    def find(self, records: Sequence[R], position: Position) -> tuple[Position, list[R]]:
        """Find out which records of a batch are in the topic, after its response was lost.

        Returns the last message that was read, and the records that are in the topic, in order. The
        position is the last message before the batch.
        """
        look_up = self._begin(LookUp(position, Counter(record.version for record in records)))
        self._read(look_up)
        found = Counter(look_up.versions)
        applied = []
        for record in records:
            if found[record.version]:
                found[record.version] -= 1
                applied.append(record)
        missing = len(records) - len(applied)
        logger.info(
            "%s: no response to a batch of %d; %d are in the topic%s",
            self.label,
            len(records),
            len(applied),
            f", sending {missing}" if missing else "",
        )
        return look_up.end, applied

    @property
    def _counted_requests(self) -> str:
        return counted(self.client.requests - self._requests_before, "request")

    def _read(self, look_up: LookUp) -> None:
        """Read to the end, and wait there for messages that are not readable yet."""
        while True:
            poll_secs = READABLE_SECS if self._may_be_incomplete(look_up) else 0
            page = self._next_page(look_up, poll_secs)
            if self._add_page(look_up, page):
                break
            # Only the first response shows the service's clock, and so how old messages are.
            if not page.messages and (poll_secs or not self._may_be_incomplete(look_up)):
                break
        self._current = None

    def _begin(self, look_up: LookUp) -> LookUp:
        """Start counting requests, and reporting progress."""
        self._requests_before, self._current = self.client.requests, look_up
        return look_up

    def _add_page(self, look_up: LookUp, page: Messages) -> bool:
        """Add a page; return whether it shows that there is nothing more to read."""
        tolerance = LOCAL_TOLERANCE if self._is_undated else CLOCK_TOLERANCE
        look_up.ends_at = look_up.ends_at or self._now() + tolerance
        if not page.messages:
            return False
        for message in page.messages:
            payload = bytes(message.payload)
            version = read_version(payload, self._key_field)
            look_up.add(message, version)
            look_up.other_keys += version is None and KEY.search(payload) is not None
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

    def _may_be_incomplete(self, look_up: LookUp) -> bool:
        """Whether messages of ours may have been published that are not readable yet."""
        return look_up.waits and (
            look_up.wanted is not None or bool(look_up.versions) or self._may_be_young(look_up.end)
        )

    def _may_be_young(self, position: Position) -> bool:
        time = parse_time(position.message_time)
        is_young = time is None or self._now() - time < YOUNG
        return is_young and position.message_id is not None

    def _next_page(self, look_up: LookUp, poll_secs: int) -> Messages:
        """Request the page after the last message, or the earliest one if that is rejected."""
        last = look_up.last
        cursor = Cursor(after_message_id=last.message_id)
        # If the time is unknown, the message may have been published just now.
        published_at = parse_time(last.message_time) or self._now()
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
        counting = "none of its messages counts, because the time of the position is unknown"
        if look_up.newer_than is not None:
            counting = f"only messages after {rfc3339(look_up.newer_than)} count"
        logger.warning(
            "%s: position %s was rejected (HTTP %s: %s): has the message expired, or is it in "
            "another topic or workspace? Reading from the earliest message; %s. exactly_once "
            "cannot apply to the other messages of an interrupted run: they are published again",
            self.label,
            look_up.start.message_id,
            rejection.status,
            rejection.reason,
            counting,
        )
