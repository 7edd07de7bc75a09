"""Reports progress: a line per minute or a progress bar, and a line per topic at the end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from singer_sdk import metrics

from ..event_streams import logger
from ..plugin.monitoring import ProgressBar, is_shown
from ..plugin.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .messages import OutgoingMessage

PROGRESS_SECS = 60.0
BAR_SECS = 1.0


@dataclass
class Tally:
    """The counts of one topic or of one of its workers; each is updated by one thread only."""

    published: int = 0  # acknowledged
    skipped: int = 0  # already in the topic, with `exactly_once`
    dead_lettered: int = 0
    resent: int = 0  # messages in requests after their first one
    possibly_duplicated: int = 0  # in requests that may have been applied without a response
    requests: int = 0
    body_bytes: int = 0

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """Return the sum of tallies."""
        parts = list(tallies)
        return cls(*(sum(getattr(part, field.name) for part in parts) for field in fields(cls)))

    def __str__(self) -> str:
        """Format the counts for the log."""
        skipped = f", {self.skipped} skipped" if self.skipped else ""
        return (
            f"{self.published} published{skipped}, {counted(self.dead_lettered, 'dead letter')}, "
            f"{self.resent} resent, {self.possibly_duplicated} possibly duplicated, "
            f"{counted(self.requests, 'request')}, {counted(self.body_bytes, 'byte')}"
        )


class Summary:
    """Logs the progress and the result of a run, from the tally of each topic by its label."""

    def __init__(self, tallies: Callable[[], Mapping[str, Tally]]) -> None:
        self._tallies = tallies
        self._started_at = time.monotonic()
        self._bar = ProgressBar("publishing", "messages") if is_shown() else None
        self._interval_secs = BAR_SECS if self._bar else PROGRESS_SECS
        self._next_progress = self._started_at + self._interval_secs
        self._counters: dict[str, metrics.Counter] = {}

    def count(self, messages: Sequence[OutgoingMessage]) -> None:
        """Count published messages in the SDK's metric of their streams."""
        streams = Counter(message.record.stream.name for message in messages)
        for stream, count in streams.items():
            if stream not in self._counters:
                self._counters[stream] = metrics.record_counter(stream)
            self._counters[stream].increment(count)

    def progress(self) -> None:
        """Log the progress once a minute, or show it on a terminal."""
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + self._interval_secs
            total = Tally.total(self._tallies().values())
            if self._bar:
                self._bar.show(total.published, str(total))
            else:
                logger.info("After %.0f s: %s", now - self._started_at, total)

    def write(self) -> None:
        """Log the line of each topic and the SDK's metric of each stream."""
        if self._bar:
            self._bar.close()
        for counter in self._counters.values():
            counter.exit()
        secs = time.monotonic() - self._started_at
        for label, tally in self._tallies().items():
            logger.info("%s: %s, %.1f s", label, tally, secs)
