"""The metrics of a run of the tap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ..event_streams.consume import parse_time
from ..plugin.metrics import Metric, request_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..event_streams.rate_limiter import RequestStats
    from .summary import TopicSummary

LABELS = ("stream", "topic_id")


def tap_metrics(summaries: Sequence[TopicSummary], stats: RequestStats) -> Iterator[Metric]:
    """Return the metrics of a run so far."""
    by_label = {(each.topic.name, str(each.topic.id)): each for each in summaries}
    yield Metric(
        "tap_messages_total",
        "Messages written to stdout.",
        LABELS,
        {label: summary.messages for label, summary in by_label.items()},
    )
    yield Metric(
        "tap_lag_seconds",
        "Age of the last message when it was read; 0 at the end of the topic.",
        LABELS,
        {
            label: lag
            for label, summary in by_label.items()
            if (lag := 0.0 if summary.at_end else summary.lag_secs) is not None
        },
    )
    now = time.time()
    yield Metric(
        "tap_bookmark_age_seconds",
        "Age of the bookmarked message, after which the next run would resume.",
        LABELS,
        {
            label: max(0.0, now - bookmarked.timestamp())
            for label, summary in by_label.items()
            if (bookmarked := parse_time(summary.resume_time))
        },
    )
    yield from request_metrics(stats)
