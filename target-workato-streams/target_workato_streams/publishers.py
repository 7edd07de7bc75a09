"""The publishers of all topics, and which of them a stream goes to."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .publisher import Publisher
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .terms import Terms


class Publishers:
    """One publisher a topic, for the use of the main thread.

    Args:
        terms: What they have in common.
        max_batch_age_secs: How long a message may wait for its batch to fill.
    """

    def __init__(self, terms: Terms, *, max_batch_age_secs: float) -> None:
        self._terms = terms
        self._max_age = max_batch_age_secs
        self._by_topic: dict[int, Publisher] = {}
        self._by_stream: dict[str, Publisher | None] = {}

    def route(self, stream: str, topic_id: int | None) -> None:
        """Send a stream to a topic; None skips it."""
        publisher = None
        if topic_id is not None:
            publisher = self._by_topic.get(topic_id) or Publisher(topic_id, self._terms)
            self._by_topic[topic_id] = publisher
            publisher.streams[stream] = None
        self._by_stream[stream] = publisher

    def of(self, stream: str) -> Publisher | None:
        """The publisher of a stream that has a route; None skips the stream."""
        return self._by_stream[stream]

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way, in any topic."""
        return all(publisher.idle for publisher in self._by_topic.values())

    def due(self) -> Iterator[float]:
        """When the batches that are being filled are old enough, on the monotonic clock."""
        for publisher in self._by_topic.values():
            if publisher.lingering:
                yield publisher.filling.born + self._max_age

    def submit_old(self) -> None:
        """Close the batches that are old enough."""
        now = time.monotonic()
        for publisher in self._by_topic.values():
            if publisher.lingering and publisher.filling.born + self._max_age <= now:
                publisher.submit(publisher.filling.close())

    def submit_all(self) -> None:
        """Close all batches: no more input comes."""
        for publisher in self._by_topic.values():
            publisher.submit(publisher.filling.close())

    def keep_before(self, sequence: int) -> None:
        """Drop every message that is not under way and not before this place."""
        for publisher in self._by_topic.values():
            publisher.keep_before(sequence)

    def close(self, *, join: bool) -> None:
        """Take nothing more, and drop what waits.

        Args:
            join: Whether to wait for the workers, which have nothing to do.
        """
        for publisher in self._by_topic.values():
            publisher.close()
        if join:
            for publisher in self._by_topic.values():
                publisher.join()

    def tallies(self) -> dict[str, Tally]:
        """The tally of each topic by its label."""
        return {
            publisher.label: Tally.total([publisher.tally, *publisher.tallies])
            for publisher in self._by_topic.values()
        }
