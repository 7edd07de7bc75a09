"""The metrics of a run of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plugin.metrics import Histogram, Metric, request_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .context import PublishContext
    from .producer_registry import ProducerRegistry

LABELS = ("topic_id",)
# From a fast response to a wait for the quota of the next minutes.
LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def acknowledgement_histogram() -> Histogram:
    """Make the histogram in which workers count how long a batch takes."""
    return Histogram(
        "target_acknowledgement_seconds",
        "Time from sending a batch to its acknowledgement, with retries and waits for the quota.",
        LATENCY_BOUNDS,
    )


def target_metrics(
    producers: ProducerRegistry, context: PublishContext
) -> Iterator[Metric | Histogram]:
    """Describe what a run has counted so far."""
    # A copy, since the main thread may add a topic.
    topics = {(str(producer.topic_id),): producer for producer in list(producers)}
    tallies = {labels: producer.total for labels, producer in topics.items()}
    yield Metric(
        "target_messages_published_total",
        "counter",
        "Messages acknowledged by Event Streams.",
        LABELS,
        {labels: tally.published for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_messages_rejected_total",
        "counter",
        "Messages written to the dead-letter file.",
        LABELS,
        {labels: tally.dead_lettered for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_duplicates_avoided_total",
        "counter",
        "Messages not published again, since the topic already holds them.",
        LABELS,
        {labels: tally.skipped for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_batches_in_flight",
        "gauge",
        "Batches sent and not yet acknowledged.",
        LABELS,
        {labels: producer.in_flight for labels, producer in topics.items()},
    )
    yield context.latency
    yield from request_metrics(context.limiter.stats)
