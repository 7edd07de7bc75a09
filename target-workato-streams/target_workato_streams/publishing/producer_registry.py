"""The producers of all topics, by topic and by stream."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .topic_producer import TopicProducer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .context import PublishContext
    from .summary import Tally

# The maximum memory of the messages that wait, if the requests of one topic fail.
MAX_WAITING_BYTES = 32 * 1024 * 1024


class ProducerRegistry:
    """The producers of all topics; for the main thread only.

    Args:
        context: The context that they share.
    """

    def __init__(self, context: PublishContext) -> None:
        self._context = context
        self._by_topic: dict[int, TopicProducer] = {}
        self._by_stream: dict[str, TopicProducer | None] = {}

    def route(self, stream: str, topic_id: int | None) -> None:
        """Publish a stream to a topic; None skips it."""
        producer = None
        if topic_id is not None:
            producer = self._by_topic.get(topic_id) or TopicProducer(topic_id, self._context)
            self._by_topic[topic_id] = producer
            producer.streams[stream] = None
        self._by_stream[stream] = producer

    def of_stream(self, stream: str) -> TopicProducer | None:
        """Return the producer of a stream that has been routed; None if it is skipped."""
        return self._by_stream[stream]

    def of_topic(self, topic_id: int) -> TopicProducer:
        """Return the producer of a topic."""
        return self._by_topic[topic_id]

    def __iter__(self) -> Iterator[TopicProducer]:
        """Iterate over all producers."""
        return iter(self._by_topic.values())

    def __len__(self) -> int:
        """Return the number of producers."""
        return len(self._by_topic)

    @property
    def idle(self) -> bool:
        """Whether no topic has a batch that waits or is in flight."""
        return all(producer.idle for producer in self._by_topic.values())

    def has_to_pause(self, producer: TopicProducer) -> bool:
        """Whether reading should pause because enough batches of a topic wait.

        If the requests of one topic fail, the records of the others are still published, within
        the memory limit.
        """
        if not producer.full:
            return False
        producers = self._by_topic.values()
        if not producer.failing or all(each.failing for each in producers):
            return True
        return sum(each.queue.memory for each in producers) > MAX_WAITING_BYTES

    @property
    def due_at(self) -> float:
        """The time on the monotonic clock at which the next batch is due; infinity without one."""
        due = (producer.due_at for producer in self._by_topic.values())
        return min((at for at in due if at is not None), default=float("inf"))

    def submit_due(self) -> None:
        """Close the batches that have reached their maximum age."""
        now = time.monotonic()
        for producer in self._by_topic.values():
            if producer.due_at is not None and producer.due_at <= now:
                producer.submit_open()

    def submit_all(self) -> None:
        """Close all batches, at the end of the input."""
        for producer in self._by_topic.values():
            producer.submit_open()

    def drop_from(self, sequence: int) -> None:
        """Drop the messages from a sequence number on, except those in flight."""
        for producer in self._by_topic.values():
            producer.drop_from(sequence)

    def close(self, *, join: bool) -> None:
        """Accept no more batches, and drop the waiting ones.

        Args:
            join: Whether to wait for the workers, which must be idle.
        """
        for producer in self._by_topic.values():
            producer.queue.close()
        if join:
            for producer in self._by_topic.values():
                producer.join()

    def tallies(self) -> dict[str, Tally]:
        """Return the counts of each topic by label."""
        return {producer.label: producer.total for producer in self._by_topic.values()}
