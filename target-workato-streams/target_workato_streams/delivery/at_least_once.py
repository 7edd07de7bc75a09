"""At least once: all records are published, and what may not have arrived is sent again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Generic

from .records import PublishResult, R, Run


class AtLeastOnce(Generic[R]):
    """Decides which records of a topic are published, and which of a request are sent again.

    `missing`, `on_lost` and `on_response` are for the workers, all others for the main thread.
    """

    chunk_rows = 1  # the number of records to collect for `select`
    requests = 0  # that have read the topic
    streams: Mapping[str, object] = MappingProxyType({})  # how their rows have changed

    def open(self, label: str, run: Run) -> None:
        """Prepare the topic for its first record; the label names it in errors and log lines."""

    def batch_key(self, record: R) -> str | int:
        """Return what no two records of a request may have in common."""
        return record.sequence

    def select(self, records: Sequence[R]) -> tuple[Sequence[R], Sequence[R]]:
        """Return the records to publish, and the ones that are already in the topic."""
        return records, ()

    def settle(self, records: Sequence[R]) -> Sequence[R]:
        """Handle that records have outcomes; return all records for which these count."""
        return records

    def missing(self, records: Sequence[R]) -> Sequence[R]:
        """Return the records of a request that have to be sent, in order; may read the topic."""
        return records

    def is_unchanged(self, record: R) -> bool:
        """Whether a record was not sent, because its row did not differ from the topic's."""
        return False

    def on_lost(self, records: Sequence[R], *, is_throttled: bool) -> bool:
        """Handle that records have no result; return whether they may be duplicated.

        They may have arrived, which is unlikely if the service throttled the request.
        """
        return not is_throttled

    def on_response(self, records: Sequence[R], result: PublishResult) -> bool:
        """Handle a response; return whether it says enough, or else the request has failed."""
        return len(result.unknown) < len(records)

    def report_progress(self) -> None:
        """Log what takes long; called several times a minute."""

    def log_summary(self) -> None:
        """Log what the user should know at the end of the run."""
