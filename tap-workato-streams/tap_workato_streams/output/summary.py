"""What a run logs about its topics: progress while it lasts, and a summary of each at its end."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from singer_sdk import metrics

from ..limits import Interval
from ..reading.positions import parse_time

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from ..reading.pages import Bookmark, Page
    from ..reading.topic import Topic

logger = logging.getLogger("tap-workato-streams")


class TopicSummary:
    """Counts the messages of one topic, for the log and for metrics.

    Attributes:
        messages: Messages written.
        resume_time: The time of the bookmark, from which the next run would resume.
    """

    def __init__(self, topic: Topic, bookmark: Bookmark | None) -> None:
        self.messages = 0
        self.resume_time = bookmark.time if bookmark else None
        self._topic = topic
        self._began = time.monotonic()
        self._ended: float | None = None
        self._newest: str | None = None
        self._service_time: datetime | None = None
        self._metrics = ExitStack()
        self._counter = self._metrics.enter_context(metrics.record_counter(topic.name))
        self._metrics.enter_context(metrics.sync_timer(topic.name))

    def add(self, page: Page) -> None:
        """Count the messages of a page that has been written."""
        self._service_time = page.date or self._service_time
        if bookmark := page.bookmark():
            self.resume_time = bookmark.time
        if page.messages:
            self.messages += len(page.messages)
            self._newest = page.messages[-1].time
            self._counter.increment(len(page.messages))

    def end(self) -> None:
        """Mark the end of the topic; the summary may be logged later."""
        if self._ended is None:
            self._ended = time.monotonic()
            self._metrics.close()

    def log(self, requests: int) -> None:
        """Log one line about the topic."""
        self.end()
        logger.info(
            "%s: %s, %s, %.1f s%s",
            self._topic,
            counted(self.messages, "message"),
            counted(requests, "request"),
            (self._ended or 0) - self._began,
            self._lag(),
        )

    def _lag(self) -> str:
        lag = self.lag_secs
        return "" if lag is None else f", last message from {self._newest}, {lag:.0f} s behind"

    @property
    def lag_secs(self) -> float | None:
        """How old the last message was when it was read; None without messages."""
        newest = parse_time(self._newest)
        if newest is None or self._service_time is None:
            return None
        return max(0.0, (self._service_time - newest).total_seconds())


class Progress:
    """Logs the progress of the whole run, once a minute."""

    INTERVAL_SECS = 60.0

    def __init__(self, summaries: Collection[TopicSummary]) -> None:
        self._summaries = summaries
        self._began = time.monotonic()
        self.interval = Interval(self.INTERVAL_SECS)

    def log_if_due(self) -> None:
        """Log a line if a minute has passed since the last one."""
        if self.interval.is_over():
            messages = sum(summary.messages for summary in self._summaries)
            secs = time.monotonic() - self._began
            logger.info("%s after %.0f s", counted(messages, "message"), secs)


def counted(number: int, noun: str) -> str:
    """Return a number with its noun in the singular or the plural."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
