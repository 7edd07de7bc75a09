"""The producers of all topics, and which of them a stream goes to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .summary import Tally
from .topic_producer import TopicProducer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .context import PublishContext


class ProducerRegistry:
    """One topic_producer a topic, for the use of the main thread.

    Args:
        context: What they have in common.
        max_batch_age_secs: How long a message may wait for its batch to fill.
    """

    def __init__(self, context: PublishContext, *, max_batch_age_secs: float) -> None:
        self._context = context
        self._max_age = max_batch_age_secs
        self._by_topic: dict[int, TopicProducer] = {}
        self._by_stream: dict[str, TopicProducer | None] = {}

    def route(self, stream: str, topic_id: int | None) -> None:
        """Send a stream to a topic; None skips it."""
        topic_producer = None
        if topic_id is not None:
            topic_producer = self._by_topic.get(topic_id) or TopicProducer(topic_id, self._context)
            self._by_topic[topic_id] = topic_producer
            topic_producer.streams[stream] = None
        self._by_stream[stream] = topic_producer

    def of(self, stream: str) -> TopicProducer | None:
        """The topic_producer of a stream that has a route; None skips the stream."""
        return self._by_stream[stream]

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way, in any topic."""
        return all(topic_producer.idle for topic_producer in self._by_topic.values())

    def due(self) -> Iterator[float]:
        """When the batches that are being filled are old enough, on the monotonic clock."""
        for topic_producer in self._by_topic.values():
            if topic_producer.lingering:
                yield topic_producer.builder.born + self._max_age

    def submit_old(self) -> None:
        """Close the batches that are old enough."""
        now = time.monotonic()
        for topic_producer in self._by_topic.values():
            if topic_producer.lingering and topic_producer.builder.born + self._max_age <= now:
                topic_producer.submit(topic_producer.builder.close())

    def submit_all(self) -> None:
        """Close all batches: no more input comes."""
        for topic_producer in self._by_topic.values():
            topic_producer.submit(topic_producer.builder.close())

    def keep_before(self, sequence: int) -> None:
        """Drop every message that is not under way and not before this place."""
        for topic_producer in self._by_topic.values():
            topic_producer.keep_before(sequence)

    def close(self, *, join: bool) -> None:
        """Take nothing more, and drop what waits.

        Args:
            join: Whether to wait for the workers, which have nothing to do.
        """
        for topic_producer in self._by_topic.values():
            topic_producer.close()
        if join:
            for topic_producer in self._by_topic.values():
                topic_producer.join()

    def tallies(self) -> dict[str, Tally]:
        """The tally of each topic by its label."""
        return {
            topic_producer.label: Tally.total([topic_producer.tally, *topic_producer.tallies])
            for topic_producer in self._by_topic.values()
        }
