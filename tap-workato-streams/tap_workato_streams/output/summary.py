"""What a run tells of itself: a line a minute while it lasts, and one a topic at its end."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ..limits import Interval
from ..reading.positions import parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from ..reading.pages import Page
    from ..streams import TopicStream

logger = logging.getLogger("tap-workato-streams")


class TopicSummary:
    """Counts what was read of one topic, for a line of its own and for the SDK's metrics."""

    def __init__(self, stream: TopicStream) -> None:
        self.messages = 0
        self._stream = stream
        self._began = time.monotonic()
        self._ended: float | None = None
        self._newest: str | None = None
        self._service_time: datetime | None = None
        self._metrics = ExitStack()
        self._counter = self._metrics.enter_context(stream.get_record_counter())
        self._metrics.enter_context(stream.get_sync_timer())

    def add(self, page: Page) -> None:
        """Count the messages of a page that has been written."""
        self._service_time = page.date or self._service_time
        if page.messages:
            self.messages += len(page.messages)
            self._newest = page.messages[-1].time
            self._counter.increment(len(page.messages))

    def end(self) -> None:
        """Mark the end of the topic; the summary may be logged later."""
        if self._ended is None:
            self._ended = time.monotonic()
            self._metrics.close()

    def log(self) -> None:
        """Log the one line of the topic."""
        self.end()
        logger.info(
            "%s: %d messages, %d requests, %.1f s%s",
            self._stream.topic,
            self.messages,
            self._stream.client.requests,
            (self._ended or 0) - self._began,
            self._lag(),
        )

    def _lag(self) -> str:
        newest = parse_time(self._newest)
        if newest is None or self._service_time is None:
            return ""
        lag = max(0.0, (self._service_time - newest).total_seconds())
        return f", last message of {self._newest}, {lag:.0f} s behind"


class Progress:
    """Logs how far the whole run is, once a minute."""

    INTERVAL_SECS = 60.0

    def __init__(self, summaries: dict[str, TopicSummary]) -> None:
        self._summaries = summaries
        self._began = time.monotonic()
        self.interval = Interval(self.INTERVAL_SECS)

    def log_if_due(self) -> None:
        """Log a line if a minute has passed since the last."""
        if self.interval.is_over():
            messages = sum(summary.messages for summary in self._summaries.values())
            logger.info("%d messages so far, %.0f s", messages, time.monotonic() - self._began)
