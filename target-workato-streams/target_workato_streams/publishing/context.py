"""The settings for publishing, and what the producers of all topics share."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from ..delivery import Delivery
from ..delivery.store import Store
from ..event_streams.rate_limiter import RateLimiter
from .batches import BatchSettings
from .client import PublishClient
from .messages import Outcome, OutgoingMessage, Payload
from .rejections import EntryRetries, RejectionLimit
from .wakeup import Wakeup

if TYPE_CHECKING:
    from prometheus_client import Histogram


@dataclass(frozen=True)
class PublishSettings:
    """The settings for publishing."""

    payload: Payload
    batch: BatchSettings
    max_in_flight: int
    max_retry_secs: float
    max_rejected: int | None  # None for no maximum
    dead_letter_path: Path | None  # None if a rejected message ends the run
    dry_run: bool  # counts messages and requests, and sends nothing
    max_requests_per_minute: int | None  # for the estimate of a dry run

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Pick the settings from a checked config."""
        path = config.get("dead_letter_path")
        return cls(
            payload=Payload.from_config(config),
            batch=BatchSettings.from_config(config),
            max_in_flight=config["max_in_flight"],
            max_retry_secs=config["max_retry_secs"],
            max_rejected=config.get("max_rejected") if path else 0,
            dead_letter_path=Path(path) if path else None,
            dry_run=config["dry_run"],
            max_requests_per_minute=config.get("max_requests_per_minute"),
        )


@dataclass
class PublishContext:
    """What the producers of all topics share."""

    settings: PublishSettings
    connect: Callable[[int], PublishClient]  # opens a connection to a topic, for one worker
    limiter: RateLimiter
    deliver: Callable[[int], Delivery[OutgoingMessage]]  # creates the delivery of a topic
    store: Store | None = None  # of published rows
    latency: Histogram | None = None  # None if metrics are not served
    rejection_limit: RejectionLimit = field(init=False)
    entry_retries: EntryRetries = field(init=False)
    # For the main thread, with their topic ids.
    outcomes: deque[tuple[int, Outcome]] = field(init=False, default_factory=deque)
    # Called when there is an outcome, or room for another batch.
    wakeup: Wakeup = field(init=False, default_factory=Wakeup)

    def __post_init__(self) -> None:
        """Create what depends on the settings."""
        self.rejection_limit = RejectionLimit(self.settings.max_rejected)
        self.entry_retries = EntryRetries(self.settings.max_retry_secs)

    def report(self, topic_id: int, outcome: Outcome) -> None:
        """Report an outcome to the main thread."""
        self.outcomes.append((topic_id, outcome))
        self.wakeup.call()
