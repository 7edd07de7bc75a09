"""The metrics that both connectors have in common, and the progress bar."""

from __future__ import annotations

import bisect
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..event_streams.rate_limiter import RequestStats


class Metric(NamedTuple):
    """A metric and its current values.

    Attributes:
        name: The name without the prefix; with ``_total`` at the end for a counter, else a gauge.
        description: One sentence.
        labels: The names of its labels.
        values: The value for each combination of label values.
    """

    name: str
    description: str
    labels: tuple[str, ...]
    values: Mapping[tuple[str, ...], float]


class Histogram:
    """A histogram of durations; thread-safe.

    Args:
        name: The name without the prefix.
        description: One sentence.
        bounds: The upper bounds of the buckets, in seconds.
    """

    def __init__(self, name: str, description: str, bounds: tuple[float, ...]) -> None:
        self.name = name
        self.description = description
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = threading.Lock()

    def observe(self, secs: float) -> None:
        """Count a duration."""
        with self._lock:
            self._counts[bisect.bisect_left(self._bounds, secs)] += 1
            self._sum += secs

    def buckets(self) -> tuple[list[tuple[str, float]], float]:
        """Return the cumulative count of each bucket by its upper bound, and the sum."""
        with self._lock:
            counts, total = list(self._counts), self._sum
        bounds = [*map(str, self._bounds), "+Inf"]
        return [(bound, sum(counts[: n + 1])) for n, bound in enumerate(bounds)], total


def request_metrics(stats: RequestStats) -> Iterator[Metric]:
    """Yield the metrics of a connector's requests."""
    yield Metric(
        "requests_total",
        "Requests that consume or publish messages, by the HTTP status of their response.",
        ("status",),
        {(status,): count for status, count in stats.by_status.copy().items()},
    )
    yield Metric("retries_total", "Retried requests.", (), {(): stats.retries})
    yield Metric(
        "quota_waits_total",
        "Requests that waited for the quota or for the end of a pause after a 429.",
        (),
        {(): stats.quota_waits},
    )
    yield Metric(
        "quota_wait_seconds_total",
        "Time that requests waited for the quota or for the end of a pause after a 429.",
        (),
        {(): stats.quota_wait_secs},
    )


def is_shown() -> bool:
    """Return whether stderr is a terminal."""
    return bool(sys.stderr) and sys.stderr.isatty()


class ProgressBar:
    """A progress bar above which log lines scroll.

    Args:
        description: The text before the bar.
        unit: The unit of the count; None for a share from 0 to 1.
    """

    def __init__(self, description: str, unit: str | None = None) -> None:
        # Only needed on a terminal.
        from tqdm import tqdm  # noqa: PLC0415
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

        self._context = ExitStack()
        self._context.enter_context(logging_redirect_tqdm())
        # The text contains an estimate of the remaining time. tqdm puts a comma before it.
        share = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}]{postfix}"
        count = "{desc}: {n} {unit} [{elapsed}, {rate_fmt}]{postfix}"
        self._bar = self._context.enter_context(
            tqdm(
                desc=description,
                total=None if unit else 1.0,
                unit=unit or "",
                bar_format=count if unit else share,
                file=sys.stderr,
                dynamic_ncols=True,
                mininterval=0,
                leave=False,
            )
        )

    def show(self, done: float, text: str = "") -> None:
        """Update the count or share, and the text after it."""
        self._bar.n = done
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._context.close()
