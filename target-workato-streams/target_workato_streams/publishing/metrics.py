"""The metrics of a run of the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plugin.metrics import Metric, request_metrics

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..plugin.metrics import Histogram
    from .context import PublishContext
    from .producer_registry import ProducerRegistry

LABELS = ("topic_id",)


def target_metrics(
    producers: ProducerRegistry, context: PublishContext
) -> Iterator[Metric | Histogram]:
    """Return the metrics of a run so far."""
    # A copy, because the main thread may add a topic.
    topics = {(str(producer.topic_id),): producer for producer in list(producers)}
    tallies = {labels: producer.total for labels, producer in topics.items()}
    yield Metric(
        "target_messages_published_total",
        "Messages acknowledged by Event Streams.",
        LABELS,
        {labels: tally.published for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_messages_rejected_total",
        "Messages written to the dead-letter file.",
        LABELS,
        {labels: tally.dead_lettered for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_duplicates_avoided_total",
        "Messages not published again, because the topic already contains them.",
        LABELS,
        {labels: tally.skipped for labels, tally in tallies.items()},
    )
    yield Metric(
        "target_batches_in_flight",
        "Batches that have been sent but not yet acknowledged.",
        LABELS,
        {labels: producer.queue.in_flight for labels, producer in topics.items()},
    )
    yield context.latency
    yield from request_metrics(context.limiter.stats)
