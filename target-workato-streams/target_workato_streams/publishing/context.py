"""What the producers of all topics have in common, and what they report."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ..event_streams.errors import EventStreamsError
from .bisect import Published, Rejected
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..event_streams.rate_limiter import RateLimiter
    from .batches import BatchSettings
    from .publish_client import PublishClient
    from .topic_producer import TopicProducer


class Failed(NamedTuple):
    """The run cannot go on.

    Attributes:
        error: Why.
        rejected: The message that may not be set aside, where that is why.
    """

    error: Exception
    rejected: Rejected | None = None

    @classmethod
    def at(cls, rejected: Rejected) -> Failed:
        """The end of a run at a message that may not be set aside."""
        status = f" (status {rejected.status})" if rejected.status else ""
        error = EventStreamsError(
            f"{rejected.message.origin}: rejected: {rejected.reason}{status}; mend the record, or "
            "set on_rejected to dead_letter and max_rejected high enough"
        )
        return cls(error, rejected)


Outcome = Published | Rejected | Failed


class RejectionLimit:
    """How many messages may still be set aside, over all topics.

    Args:
        limit: The most; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def judge(self, rejected: Rejected) -> Rejected | Failed:
        """Count a rejected message: it may be set aside, or ends the run."""
        with self._lock:
            if self._left is not None:
                self._left -= 1
                if self._left < 0:
                    return Failed.at(rejected)
        return rejected


@dataclass(frozen=True)
class PublishContext:
    """What the producers of all topics have in common.

    Args:
        connect: Opens a connection to a topic, for one worker.
        limiter: The limiter of requests.
        rejection_limit: How many messages may be set aside.
        limits: What a batch may hold.
        max_in_flight: The most batches of one topic under way at a time.
        max_retry_secs: How long one request may be retried in all.
        outcomes: What became of messages, for the main thread.
        wakeup: Wakes the main thread when there is an outcome or room.
    """

    connect: Callable[[int], PublishClient]
    limiter: RateLimiter
    rejection_limit: RejectionLimit
    limits: BatchSettings
    max_in_flight: int
    max_retry_secs: float
    outcomes: deque[tuple[TopicProducer, Outcome]] = field(default_factory=deque)
    wakeup: Wakeup = field(default_factory=Wakeup)
