"""The size of a run: full, or a tenth for a quick check of the benchmarks themselves."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """The number of messages and of repetitions.

    Attributes:
        messages: Messages of a run without latency.
        slow_pages: Pages or batches of a run with 50 ms latency.
        many_messages: Messages of the run whose memory is measured.
        arrivals: Messages that are sent to a tap in tail mode.
        runs: Repetitions of each run; the median is reported.
        short_runs: Repetitions of runs that take less than a second.
    """

    messages: int
    slow_pages: int
    many_messages: int
    arrivals: int
    runs: int
    short_runs: int


FULL = Scale(100_000, 100, 1_000_000, 200, 5, 9)
QUICK = Scale(10_000, 20, 100_000, 20, 1, 1)
