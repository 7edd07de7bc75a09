"""Reports the progress of a run: log lines, a progress bar and metrics."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from ..event_streams import logger
from ..event_streams.consume import ConsumeClient, parse_time
from ..event_streams.rate_limiter import RateLimiter, RequestStats
from ..plugin.monitoring import metric, request_metrics, start_progress
from ..plugin.wording import counted, duration
from ..reading.bookmarks import Bookmark, Page, Topic

if TYPE_CHECKING:
    from prometheus_client import Metric


# A long poll returns at once if there are messages; a slow gateway may take some seconds.
LONG_POLL_SECS = 10.0


class TopicSummary:
    """Counts the messages of one topic, for the log and for metrics."""

    def __init__(self, topic: Topic, bookmark: Bookmark | None, client: ConsumeClient) -> None:
        self.topic = topic
        self.messages = 0
        self._client = client
        self._read_to_end = False
        self.resume_time = bookmark.time if bookmark else None
        # The times of the messages; those in seconds are Unix times.
        self.newest: str | None = None
        self.newest_secs: float | None = None
        self.oldest_secs: float | None = None
        # The times of the service's clock and of the local clock at the last page.
        self._service_secs = 0.0
        self._seen_at = 0.0
        self._began = time.monotonic()
        self._ended: float | None = None

    def add(self, page: Page) -> None:
        """Count the messages of a page that has been written."""
        self._read_to_end = page.is_last
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

    def end(self) -> None:
        """Mark the end of the topic; the summary may be logged later."""
        if self._ended is None:
            self._ended = time.monotonic()

    @property
    def at_end(self) -> bool:
        """Whether all messages have been read, or a long poll is waiting for the next one."""
        sent_at = self._client.polls_since
        waits = sent_at > self._seen_at and time.monotonic() - sent_at > LONG_POLL_SECS
        return self._read_to_end or (waits and not self._client.failure)

    @property
    def is_done(self) -> bool:
        """Whether the topic is at its end, or is no longer read."""
        return self.at_end or self._ended is not None

    @property
    def lag_secs(self) -> float | None:
        """The age of the newest message in seconds when it was read; see ``lag_at``."""
        return self.lag_at(self._seen_at)

    def lag_at(self, now: float) -> float | None:
        """Return the age of the newest message in seconds at a time by ``time.monotonic()``.

        It is 0 if all messages have been read, and None if no message has been read yet.
        """
        if self.at_end:
            return 0.0
        if self.newest_secs is None:
            return None
        return max(0.0, self._service_secs + now - self._seen_at - self.newest_secs)

    def share_done(self) -> float:
        """Return the share of the time since the first message that has been read, from 0 to 1."""
        oldest, newest = self.oldest_secs, self.newest_secs
        if self.is_done:
            return 1.0
        if oldest is None or newest is None:
            return 0.0
        return min(1.0, (newest - oldest) / max(self._service_secs - oldest, 1e-3))

    def log(self) -> None:
        """Log a summary line."""
        self.end()
        counts = f"{counted(self.messages, 'message')}, {counted(self._client.requests, 'request')}"
        secs = f"{(self._ended or 0) - self._began:.1f} s"
        parts = [counts, secs, *self.position(self._seen_at)]
        logger.info("%s: %s", self.topic, ", ".join(parts))

    def position(self, now: float) -> list[str]:
        """Return the newest message, and how far behind the topic is, for a line of the log."""
        lag = self.lag_at(now)
        if self.newest is None or lag is None:
            return []
        behind = "read to the end" if self.at_end else f"{duration(lag)} behind"
        return [f"newest from {self.newest}", behind]


def _secs(time: str | None) -> float | None:
    parsed = parse_time(time)
    return parsed.timestamp() if parsed else None


# With fewer active topics, each has a line; otherwise, only the slowest ones do.
MANY_TOPICS = 10
SLOWEST = 3
# A smaller lag may be due to the time between two requests.
UP_TO_DATE_SECS = 60.0


class Progress:
    """Reports the progress, the lag and the remaining time of each topic."""

    def __init__(
        self, summaries: Sequence[TopicSummary], limiter: RateLimiter, *, tail: bool
    ) -> None:
        self._summaries = summaries
        self._limiter = limiter
        self._tail = tail
        self._began = self._reported_at = time.monotonic()
        self._mark()
        topics, unit = counted(len(summaries), "topic"), "messages" if tail else None
        self._bar, self.interval = start_progress(topics, unit)

    def report_if_due(self) -> None:
        """Report if an interval has passed since the last time."""
        if self.interval.left:
            return
        self.interval.restart()
        now = time.monotonic()
        if self._bar:
            if self._tail:
                messages = sum(summary.messages for summary in self._summaries)
                self._bar.show(messages, ", ".join(self._slowest(now)) + self._limiter.waiting)
            else:
                shares = [summary.share_done() for summary in self._summaries]
                self._bar.show(sum(shares) / max(1, len(shares)), self._total(now))
            return
        active = [each for each in self._summaries if self._new_messages(each)]
        active.sort(key=lambda summary: summary.lag_at(now) or 0.0, reverse=True)
        shown = active if len(active) < MANY_TOPICS else active[:SLOWEST]
        if len(shown) == len(active) == 1:
            logger.info(
                "%s: %s%s", shown[0].topic, self._line(shown[0], now), self._limiter.waiting
            )
        else:
            for summary in shown:
                logger.info("%s: %s", summary.topic, self._line(summary, now))
            logger.info("%s: %s", counted(len(self._summaries), "topic"), self._total(now))
        self._reported_at = now
        self._mark()

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar:
            self._bar.close()

    def _mark(self) -> None:
        """Remember the messages and the newest time of each topic, to compute the next rates."""
        self._before = {each: (each.messages, each.newest_secs) for each in self._summaries}

    def _line(self, summary: TopicSummary, now: float) -> str:
        parts = [self._messages([summary], now), *summary.position(now)]
        lag = summary.lag_at(now)
        if lag is not None and lag > UP_TO_DATE_SECS:
            parts.append(self._done_in(summary, lag, now))
        return ", ".join(parts)

    def _done_in(self, summary: TopicSummary, lag: float, now: float) -> str:
        """Return when the backlog is done at the rate of the last interval."""
        before = self._before[summary][1] or summary.oldest_secs or 0.0
        newest = summary.newest_secs or before
        # In seconds of messages per second; in tail mode, new messages keep arriving.
        speed = (newest - before) / max(now - self._reported_at, 1e-3) - (1 if self._tail else 0)
        backlog = lag if self._tail else lag - (now - self._began)
        if speed <= 0:
            return "not catching up"
        return f"done in about {duration(max(0.0, backlog / speed))}"

    def _total(self, now: float) -> str:
        parts = [self._messages(self._summaries, now), *self._slowest(now)]
        return ", ".join(parts) + self._limiter.waiting

    def _messages(self, summaries: Sequence[TopicSummary], now: float) -> str:
        """Return the number of messages, and their rate in the last interval."""
        total = sum(summary.messages for summary in summaries)
        new = sum(self._new_messages(summary) for summary in summaries)
        rate = new / max(now - self._reported_at, 1e-3)
        return f"{counted(total, 'message')} ({rate:.1f}/s)"

    def _slowest(self, now: float) -> list[str]:
        """Return how far the slowest topic is behind, if one is, and when it will be done."""
        topics = [each for each in self._summaries if not each.is_done]
        lags = [(lag, each) for each in topics if (lag := each.lag_at(now)) is not None]
        if not lags:
            return []
        lag, slowest = max(lags, key=lambda pair: pair[0])
        behind = f"{slowest.topic.name} {duration(lag)} behind"
        return [behind, self._done_in(slowest, lag, now)] if lag > UP_TO_DATE_SECS else [behind]

    def _new_messages(self, summary: TopicSummary) -> int:
        return summary.messages - self._before[summary][0]


LABELS = ("stream", "topic_id")


def tap_metrics(summaries: Sequence[TopicSummary], stats: RequestStats) -> Iterator[Metric]:
    """Return the metrics of a run so far."""
    messages: dict[tuple[str, ...], float] = {}
    lags: dict[tuple[str, ...], float] = {}
    ages: dict[tuple[str, ...], float] = {}
    for summary in summaries:
        label = (summary.topic.name, str(summary.topic.id))
        messages[label] = summary.messages
        if (lag := summary.lag_secs) is not None:
            lags[label] = lag
        if (bookmarked := _secs(summary.resume_time)) is not None:
            ages[label] = max(0.0, time.time() - bookmarked)
    written = "Messages written to stdout."
    yield metric("tap_messages_total", written, LABELS, messages)
    last = "Age of the last message when it was read; 0 at the end of the topic."
    yield metric("tap_lag_seconds", last, LABELS, lags)
    age = "Age of the bookmarked message, after which the next run would resume."
    yield metric("tap_bookmark_age_seconds", age, LABELS, ages)
    yield from request_metrics(stats)
