"""Reports the progress of a run: log lines, a progress bar and metrics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, NamedTuple

from ..event_streams import logger
from ..event_streams.rate_limiter import RateLimiter, RequestStats
from ..plugin.monitoring import metric, request_metrics, start_progress
from ..plugin.wording import counted, duration

if TYPE_CHECKING:
    from prometheus_client import Histogram, Metric


@dataclass
class Tally:
    """The counts of one topic or of one of its workers; each is updated by one thread only."""

    published: int = 0  # acknowledged
    unchanged: int = 0  # not sent, because the last message of their row is the same
    dead_lettered: int = 0
    resent: int = 0  # messages in requests after their first one
    possibly_duplicated: int = 0  # in requests that may have been applied without a response
    requests: int = 0
    body_bytes: int = 0

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of tallies."""
        parts = list(tallies)
        return cls(*(sum(getattr(part, field.name) for part in parts) for field in fields(cls)))

    def __str__(self) -> str:
        """Format the counts for the log."""
        unchanged = f", {self.unchanged} unchanged" if self.unchanged else ""
        return (
            f"{self.published} published{unchanged}, {counted(self.dead_lettered, 'dead letter')}, "
            f"{self.resent} resent, {self.possibly_duplicated} possibly duplicated, "
            f"{counted(self.requests, 'request')}, {counted(self.body_bytes, 'byte')}"
        )


class Summary:
    """Logs the progress and the result of a run, from the tally of each topic by its label."""

    def __init__(self, tallies: Callable[[], Mapping[str, Tally]], limiter: RateLimiter) -> None:
        self._tallies = tallies
        self._limiter = limiter
        self._started_at = time.monotonic()
        self._bar, self._interval = start_progress("publishing", "messages")

    def report_if_due(self) -> None:
        """Log the progress once a minute, or show it on a terminal."""
        if self._interval.left:
            return
        self._interval.restart()
        total = Tally.total(self._tallies().values())
        text = f"{total}{self._limiter.waiting}"
        if self._bar:
            self._bar.show(total.published, text)
        else:
            logger.info("After %.0f s: %s", time.monotonic() - self._started_at, text)

    def log(self) -> None:
        """Log the line of each topic."""
        if self._bar:
            self._bar.close()
        secs = time.monotonic() - self._started_at
        for label, tally in self._tallies().items():
            logger.info("%s: %s, %.1f s", label, tally, secs)


class Planned(NamedTuple):
    """What a dry run has found out about a topic."""

    label: str
    messages: Mapping[str, int]  # of each stream
    rows: Mapping[str, object]  # how those of each stream have changed, if rows are remembered
    tally: Tally


# Workato's default, if `max_requests_per_minute` is not set.
DEFAULT_QUOTA = 60


def log_plan(topics: Iterable[Planned], quota: int | None) -> None:
    """Log what a run would publish, for each stream and topic of a dry run."""
    requests = 0
    for topic in topics:
        for stream, messages in topic.messages.items():
            rows = topic.rows.get(stream)
            logger.info(
                "%s: a run would publish %s%s",
                stream,
                counted(messages, "message"),
                f" ({rows})" if rows else "",
            )
        tally = topic.tally
        requests += tally.requests
        logger.info(
            "%s: %s in %s with %s, and %s",
            topic.label,
            counted(tally.published, "message"),
            counted(tally.requests, "request"),
            counted(tally.body_bytes, "byte"),
            counted(tally.dead_lettered, "invalid record"),
        )
    per_minute = quota or DEFAULT_QUOTA
    logger.info(
        "dry_run: nothing was published; a run would take about %s at %d requests per minute",
        duration(60 * requests / per_minute),
        per_minute,
    )


def target_metrics(
    tallies: Mapping[int, Tally],
    in_flight: Mapping[int, int],
    latency: Histogram | None,
    stats: RequestStats,
) -> Iterator[Metric]:
    """Yield the metrics of a run so far, those of topics by topic id."""

    def by_topic(name: str, description: str, values: Mapping[int, int]) -> Metric:
        labelled: dict[tuple[str, ...], float] = {(str(key),): values[key] for key in values}
        return metric(f"target_{name}", description, ("topic_id",), labelled)

    published = {topic_id: tally.published for topic_id, tally in tallies.items()}
    rejected = {topic_id: tally.dead_lettered for topic_id, tally in tallies.items()}
    unchanged = {topic_id: tally.unchanged for topic_id, tally in tallies.items()}
    written = "Messages written to the dead-letter file."
    same = "Records that were not published, because their rows have not changed."
    sent = "Batches that have been sent but not yet acknowledged."
    yield by_topic("messages_published_total", "Messages acknowledged by Event Streams.", published)
    yield by_topic("messages_rejected_total", written, rejected)
    yield by_topic("rows_unchanged_total", same, unchanged)
    yield by_topic("batches_in_flight", sent, in_flight)
    if latency:
        yield from latency.collect()
    yield from request_metrics(stats)
