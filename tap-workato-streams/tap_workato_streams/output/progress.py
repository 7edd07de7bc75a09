"""Reports the progress of a run: log lines once a minute, or a progress bar on a terminal."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, NamedTuple

from ..limits import Interval
from ..plugin import progress_bar
from ..plugin.wording import counted, duration

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .summary import TopicSummary

logger = logging.getLogger("tap-workato-streams")

INTERVAL_SECS = 60.0
BAR_INTERVAL_SECS = 1.0
# With fewer active topics, each has a line; otherwise, only the slowest ones do.
MANY_TOPICS = 10
SLOWEST = 3
# A smaller lag may be due to the time between two requests.
UP_TO_DATE_SECS = 60.0


class _Reading(NamedTuple):
    """The progress of a topic at a point in time."""

    messages: int
    newest: float | None


class Progress:
    """Reports the progress, the lag and the remaining time of each topic.

    Args:
        summaries: The summary of each topic.
        tail: Whether the run continues at the end of the topics.
    """

    def __init__(self, summaries: Sequence[TopicSummary], *, tail: bool) -> None:
        self._summaries = summaries
        self._tail = tail
        self._began = self._reported_at = time.monotonic()
        self._readings = {summary: _reading(summary) for summary in summaries}
        self._bar: progress_bar.ProgressBar | None = None
        if progress_bar.is_shown():
            topics = counted(len(summaries), "topic")
            self._bar = progress_bar.ProgressBar(topics, "messages" if tail else None)
        self.interval = Interval(BAR_INTERVAL_SECS if self._bar else INTERVAL_SECS)

    def report_if_due(self) -> None:
        """Report if an interval has passed since the last time."""
        if not self.interval.is_over():
            return
        now = time.monotonic()
        if self._bar:
            done = self._count() if self._tail else self._share_done()
            self._bar.show(done, self._total(now))
            return
        active = [each for each in self._summaries if self._new_messages(each)]
        active.sort(key=lambda summary: summary.lag_at(now) or 0.0, reverse=True)
        shown = active if len(active) < MANY_TOPICS else active[:SLOWEST]
        for summary in shown:
            logger.info("%s: %s", summary.topic, self._line(summary, now))
        if len(shown) != 1 or len(active) != 1:
            logger.info("%s: %s", counted(len(self._summaries), "topic"), self._total(now))
        self._readings = {summary: _reading(summary) for summary in self._summaries}
        self._reported_at = now

    def close(self) -> None:
        """Remove the progress bar."""
        if self._bar:
            self._bar.close()

    def _line(self, summary: TopicSummary, now: float) -> str:
        rate = self._new_messages(summary) / max(now - self._reported_at, 1e-3)
        parts = [f"{counted(summary.messages, 'message')} ({rate:.1f}/s)"]
        lag = summary.lag_at(now)
        if lag is not None:
            parts += [f"newest from {summary.newest}", f"{duration(lag)} behind"]
            parts += [self._done_in(summary, lag, now)] if lag > UP_TO_DATE_SECS else []
        return ", ".join(parts)

    def _done_in(self, summary: TopicSummary, lag: float, now: float) -> str:
        """Return when the backlog is done at the rate of the last interval."""
        before = self._readings[summary].newest or summary.oldest_secs or 0.0
        newest = summary.newest_secs or before
        # In seconds of messages per second; in tail mode, new messages keep arriving.
        speed = (newest - before) / max(now - self._reported_at, 1e-3) - (1 if self._tail else 0)
        backlog = lag if self._tail else lag - (now - self._began)
        if speed <= 0:
            return "not catching up"
        return f"done in about {duration(max(0.0, backlog / speed))}"

    def _total(self, now: float) -> str:
        new = sum(self._new_messages(summary) for summary in self._summaries)
        rate = new / max(now - self._reported_at, 1e-3)
        parts = [f"{counted(self._count(), 'message')} ({rate:.1f}/s)"]
        open_topics = [each for each in self._summaries if not each.has_ended]
        lags = [(lag, each) for each in open_topics if (lag := each.lag_at(now)) is not None]
        if lags:
            lag, slowest = max(lags, key=lambda pair: pair[0])
            parts.append(f"{slowest.topic.name} {duration(lag)} behind")
            if lag > UP_TO_DATE_SECS:
                parts.append(self._done_in(slowest, lag, now))
        return ", ".join(parts)

    def _count(self) -> int:
        return sum(summary.messages for summary in self._summaries)

    def _share_done(self) -> float:
        shares = [summary.share_done() for summary in self._summaries]
        return sum(shares) / max(1, len(shares))

    def _new_messages(self, summary: TopicSummary) -> int:
        return summary.messages - self._readings[summary].messages


def _reading(summary: TopicSummary) -> _Reading:
    return _Reading(summary.messages, summary.newest_secs)
