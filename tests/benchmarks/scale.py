"""How much is measured: all of it, or a tenth to try the benchmarks themselves."""

from __future__ import annotations

from typing import NamedTuple


class Scale(NamedTuple):
    """How many messages, and how often.

    Attributes:
        messages: Messages of a run at full speed.
        slow_pages: Pages, or batches, of a run whose answers take 50 ms.
        many_messages: Messages of the run whose memory is looked at.
        arrivals: Messages whose way through a tail is timed.
        runs: Runs of which the median counts.
        short_runs: The same where a run takes less than a second.
    """

    messages: int
    slow_pages: int
    many_messages: int
    arrivals: int
    runs: int
    short_runs: int


FULL = Scale(100_000, 100, 1_000_000, 200, 3, 9)
QUICK = Scale(10_000, 20, 100_000, 20, 1, 1)
