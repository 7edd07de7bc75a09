"""The progress of a topic in this run."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from singer_sdk import metrics

from ..event_streams.consume import parse_time
from ..plugin.wording import counted, duration

if TYPE_CHECKING:
    from ..reading.topic import Bookmark, Page, Topic

logger = logging.getLogger("tap-workato-streams")


class TopicSummary:
    """Counts the messages of one topic, for the log and for metrics.

    Attributes:
        messages: The number of messages written.
        newest: The time of the last message.
        newest_secs: The same as a Unix time.
        oldest_secs: The Unix time of the first message.
        at_end: Whether the last page was empty: all messages have been read.
        resume_time: The time of the bookmark, from which the next run would resume.
    """

    def __init__(self, topic: Topic, bookmark: Bookmark | None) -> None:
        self.topic = topic
        self.messages = 0
        self.at_end = False
        self.resume_time = bookmark.time if bookmark else None
        self.newest: str | None = None
        self.newest_secs: float | None = None
        self.oldest_secs: float | None = None
        # The times of the service's clock and of the local clock at the last page.
        self._service_secs = 0.0
        self._seen_at = 0.0
        self._began = time.monotonic()
        self._ended: float | None = None
        self._metrics = ExitStack()
        self._counter = self._metrics.enter_context(metrics.record_counter(topic.name))
        self._metrics.enter_context(metrics.sync_timer(topic.name))

    def add(self, page: Page) -> None:
        """Count the messages of a page that has been written."""
        self.at_end = not page.messages
        if bookmark := page.bookmark():
            self.resume_time = bookmark.time
        if page.messages:
            self._service_secs = (page.date or datetime.now(timezone.utc)).timestamp()
            self._seen_at = time.monotonic()
            self.messages += len(page.messages)
            self.newest = page.messages[-1].time
            self.newest_secs = _secs(self.newest)
            if self.oldest_secs is None:
                self.oldest_secs = _secs(page.messages[0].time)
            self._counter.increment(len(page.messages))

    def end(self) -> None:
        """Mark the end of the topic; the summary may be logged later."""
        if self._ended is None:
            self._ended = time.monotonic()
            self._metrics.close()

    @property
    def has_ended(self) -> bool:
        """Whether the topic has been read to its end."""
        return self._ended is not None

    @property
    def lag_secs(self) -> float | None:
        """The age of the newest message in seconds when it was read; None without messages."""
        return self.lag_at(self._seen_at)

    def lag_at(self, now: float) -> float | None:
        """Return the age of the newest message in seconds; None without messages.

        Args:
            now: The time by ``time.monotonic()``.
        """
        newest = self.newest_secs
        if newest is None:
            return None
        return max(0.0, self._service_secs + now - self._seen_at - newest)

    def share_done(self) -> float:
        """Return the share of the time since the first message that has been read, from 0 to 1."""
        oldest, newest = self.oldest_secs, self.newest_secs
        if self.has_ended or oldest is None or newest is None:
            return float(self.has_ended)
        return min(1.0, (newest - oldest) / max(self._service_secs - oldest, 1e-3))

    def log(self, requests: int) -> None:
        """Log a summary line."""
        self.end()
        line = f"{counted(self.messages, 'message')}, {counted(requests, 'request')}"
        lag = self.lag_secs
        behind = f", newest from {self.newest}, {duration(lag)} behind" if lag is not None else ""
        secs = (self._ended or 0) - self._began
        logger.info("%s: %s, %.1f s%s", self.topic, line, secs, behind)


def _secs(time: str) -> float | None:
    parsed = parse_time(time)
    return parsed.timestamp() if parsed else None
