"""What a run tells about its work: a progress line a minute, and one line a topic at the end."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from singer_sdk import metrics

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .messages import Message

PROGRESS_SECS = 60.0


@dataclass
class Tally:
    """Counts of one topic, or of one of its workers: each is written by one thread only.

    Attributes:
        published: Messages that the service acknowledged.
        dead_lettered: Messages in the dead letters.
        resent: Messages of requests after a message's first.
        possibly_duplicated: Messages of requests whose answer was lost, and may have been applied.
        requests: HTTP requests.
        body_bytes: Bytes of their bodies.
    """

    published: int = 0
    dead_lettered: int = 0
    resent: int = 0
    possibly_duplicated: int = 0
    requests: int = 0
    body_bytes: int = 0

    @classmethod
    def total(cls, tallies: Iterable[Tally]) -> Tally:
        """The sum of tallies."""
        parts = list(tallies)
        return cls(*(sum(getattr(part, field.name) for part in parts) for field in fields(cls)))

    def __str__(self) -> str:
        """The counts in words."""
        return (
            f"{self.published} published, {self.dead_lettered} set aside, "
            f"{self.resent} sent again, {self.possibly_duplicated} possibly doubled, "
            f"{self.requests} requests, {self.body_bytes} bytes"
        )


class Summary:
    """Tells how far the run has come.

    Args:
        logger: The logger of the plugin.
        tallies: Returns the tally of each topic by its label.
    """

    def __init__(self, logger: logging.Logger, tallies: Callable[[], Mapping[str, Tally]]) -> None:
        self._logger = logger
        self._tallies = tallies
        self._began = time.monotonic()
        self._next_progress = self._began + PROGRESS_SECS
        self._counters: dict[str, metrics.Counter] = {}

    def count(self, messages: Sequence[Message]) -> None:
        """Count published messages in the SDK's own metric of their streams."""
        streams = Counter(message.origin.stream.name for message in messages)
        for stream, count in streams.items():
            if stream not in self._counters:
                self._counters[stream] = metrics.record_counter(stream)
            self._counters[stream].increment(count)

    def progress(self) -> None:
        """Write the progress line, if a minute has passed since the last one."""
        now = time.monotonic()
        if now >= self._next_progress:
            self._next_progress = now + PROGRESS_SECS
            total = Tally.total(self._tallies().values())
            self._logger.info("After %.0f s: %s", now - self._began, total)

    def write(self) -> None:
        """Write the line of each topic, and the SDK's metric of each stream."""
        for counter in self._counters.values():
            counter.exit()
        secs = time.monotonic() - self._began
        for label, tally in self._tallies().items():
            self._logger.info("%s: %s, %.1f s", label, tally, secs)
