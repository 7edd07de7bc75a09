"""The context that the producers of all topics share."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..plugin.metrics import Histogram
from .rejections import EntryRetries, RejectionLimit
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..event_streams.rate_limiter import RateLimiter
    from .batches import BatchSettings
    from .messages import Outcome
    from .payload import Payload
    from .publish_client import PublishClient

# From a fast response to waiting several minutes for the quota.
LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


@dataclass(frozen=True)
class PublishSettings:
    """The settings for publishing.

    Args:
        payload: The part of a record that is published.
        batch: The limits of a batch.
        max_in_flight: Maximum number of batches of one topic that are sent concurrently.
        max_retry_secs: Maximum total time in seconds of the retries of one request.
        max_rejected: Maximum number of rejected messages; None for no maximum.
        dead_letter_path: The dead-letter file; None if rejected messages end the run.
        exactly_once: Whether only messages that the topic does not contain are published.
    """

    payload: Payload
    batch: BatchSettings
    max_in_flight: int
    max_retry_secs: float
    max_rejected: int | None = 0
    dead_letter_path: Path | None = None
    exactly_once: bool = False


class PublishContext:
    """The objects that the producers of all topics share.

    Args:
        settings: The settings for publishing.
        connect: Opens a connection to a topic, for one worker.
        limiter: The rate limiter of all requests.

    Attributes:
        rejection_limit: Counts the rejected messages.
        entry_retries: Decides whether failed entries are retried.
        outcomes: Outcomes for the main thread, with their topic ids.
        latency: The time until batches are acknowledged.
        wakeup: Wakes the main thread when there is an outcome, or room for another batch.
    """

    def __init__(
        self,
        settings: PublishSettings,
        connect: Callable[[int], PublishClient],
        limiter: RateLimiter,
    ) -> None:
        self.settings = settings
        self.connect = connect
        self.limiter = limiter
        self.rejection_limit = RejectionLimit(settings.max_rejected)
        self.entry_retries = EntryRetries(limiter, settings.max_retry_secs)
        self.outcomes: deque[tuple[int, Outcome]] = deque()
        self.latency = Histogram(
            "target_acknowledgement_seconds",
            "Time from sending a batch to its acknowledgement, including retries and quota waits.",
            LATENCY_BOUNDS,
        )
        self.wakeup = Wakeup()

    def report(self, topic_id: int, outcome: Outcome) -> None:
        """Report an outcome to the main thread."""
        self.outcomes.append((topic_id, outcome))
        self.wakeup.call()
