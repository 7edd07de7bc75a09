"""The metrics of a run of the tap."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .plugin.metrics import Metric, request_metrics
from .reading.positions import parse_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .event_streams.rate_limiter import RequestStats
    from .streams import TopicStream

LABELS = ("stream", "topic_id")


def tap_metrics(streams: Sequence[TopicStream], stats: RequestStats) -> Iterator[Metric]:
    """Return the metrics of a run so far."""
    yield Metric(
        "tap_messages_total",
        "counter",
        "Messages written to stdout.",
        LABELS,
        {_labels(stream): stream.summary.messages for stream in streams},
    )
    yield Metric(
        "tap_lag_seconds",
        "gauge",
        "Age of the last message when it was read; 0 at the end of the topic.",
        LABELS,
        {_labels(s): lag for s in streams if (lag := _lag_secs(s)) is not None},
    )
    now = time.time()
    yield Metric(
        "tap_bookmark_age_seconds",
        "gauge",
        "Time since the message after which the next run would resume.",
        LABELS,
        {
            _labels(stream): max(0.0, now - bookmarked.timestamp())
            for stream in streams
            if (bookmarked := parse_time(stream.summary.resume_time))
        },
    )
    yield from request_metrics(stats)


def _labels(stream: TopicStream) -> tuple[str, str]:
    return stream.name, str(stream.topic.id)


def _lag_secs(stream: TopicStream) -> float | None:
    return 0.0 if stream.consumer.at_end else stream.summary.lag_secs
