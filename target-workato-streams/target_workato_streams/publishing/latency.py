"""The histogram of the time until batches are acknowledged."""

from __future__ import annotations

from ..plugin.metrics import Histogram

# From a fast response to a wait for the quota of several minutes.
LATENCY_BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


def acknowledgement_histogram() -> Histogram:
    """Create the histogram of the time until a batch is acknowledged."""
    return Histogram(
        "target_acknowledgement_seconds",
        "Time from sending a batch to its acknowledgement, including retries and quota waits.",
        LATENCY_BOUNDS,
    )
