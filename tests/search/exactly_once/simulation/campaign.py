"""All kinds of sources, and the ways in which a real world deviates from an ideal one."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.search.exactly_once.simulation.history import TABLES, History
from tests.search.exactly_once.simulation.world import Options

SOURCES: Mapping[str, Options] = {
    "log": Options(("log",)),
    "log with equal events": Options(("log",), equal_events=True),
    "log with and without keys": Options(("log", "keyless log"), streams=3, equal_events=True),
    "log without keys": Options(("keyless log",), versions=2),
    "three topics": Options(
        ("log", "keyless log"), has_offset_per_stream=True, streams=3, topics=3, equal_events=True
    ),
    "incremental": Options(("incremental",)),
    "unsorted": Options(("unsorted",), rows=11),
    "full table": Options(("full table",), rows=11),
    "full table, few rows": Options(("full table",), rows=5, streams=1),
    "snapshot": Options(("snapshot",)),
    "snapshot without keys": Options(("keyless snapshot",)),
    "incremental without keys": Options(("keyless incremental",)),
    "one table after another": Options(TABLES, rows=8, streams=4),
    "tables without news": Options(TABLES, rows=8, streams=4, no_news=True),
}

SOON = (0, 0, 1, 2, 30)
WITH_EXPIRY = (0, 20, 200)
# What the documentation says about duplicates.
EXPIRED = "messages that expired before the next run read them"
NO_CURSOR = "a position that the service rejects"
LATE = "a run that starts seconds after a kill, on a service that shows messages late"
NO_POSITION = "a state without a position for a topic"
LATE_REQUEST = "a request that the service applies after its connection was closed"
REJECTED_RECORDS = "versions of a row that follow a rejected one, after an interrupted run"
DYING_TAP = "a tap that dies right after a STATE while it repeats records"
TWO_INTERRUPTED = "two interrupted runs, and a long time without a repeated record"


@dataclass(frozen=True)
class Deviation:
    """A way in which the world deviates.

    Args:
        changes: The options that differ.
        duplicates: What the documentation says about duplicates; empty if there are none.
        share: The share of histories that may have duplicates, about twice what was measured.
        assumption: The documented assumption that it contradicts, so that anything may happen.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    duplicates: str = ""
    share: float = 0.0
    assumption: str = ""


DEVIATIONS: Mapping[str, Deviation] = {
    "none": Deviation(),
    "no faults": Deviation(
        {"kill": 0.0, "lost": 0.0, "partial": 0.0, "older_state": 0.0, "runs": 8, "max_found": 15}
    ),
    "rejected records": Deviation({"rejected_records": True}, REJECTED_RECORDS, 0.08),
    "taps that die": Deviation({"tap_dies": 0.4}, DYING_TAP, 0.02),
    "older states": Deviation({"older_state": 0.6, "runs": 6}),
    "lost batches, partly applied": Deviation({"partly_applied": 0.8, "lost": 0.25}),
    "requests applied late": Deviation({"applied_late": 0.7, "lost": 0.2}, LATE_REQUEST, 0.03),
    "readable after 4 s": Deviation({"readable_after": 4, "lost": 0.15, "rests": SOON}, LATE, 0.15),
    "readable after 40 s": Deviation(
        {"readable_after": 40, "lost": 0.15, "rests": SOON},
        assumption="messages are readable within 5 s",
    ),
    "delivered twice": Deviation({"twice": 0.25}),
    "batches in another order": Deviation(
        {"shuffled": 0.6}, assumption="the messages of a batch are in order"
    ),
    "rejected positions": Deviation({"other_position": 0.4}, NO_CURSOR, 0.12),
    "rejected positions, no time": Deviation(
        {"other_position": 0.4, "no_time": 0.7}, NO_CURSOR, 0.26
    ),
    "stray rejections": Deviation({"stray": 0.08}, NO_CURSOR, 0.01),
    "acknowledgements without cursors": Deviation({"no_cursors": True}, NO_CURSOR, 0.55),
    "expiry between runs": Deviation({"expire": 0.5, "rests": WITH_EXPIRY}, EXPIRED, 0.28),
    "expiry in look-ups": Deviation(
        {"expiring": 0.05, "expire": 0.3, "rests": WITH_EXPIRY}, EXPIRED, 0.2
    ),
    "missing positions": Deviation({"no_position": 0.2}, NO_POSITION, 0.45),
    "many changes": Deviation(
        {"rows": 20, "newest_first": True, "many_changes": 25, "changes": 30, "hold_secs": 10.0},
        TWO_INTERRUPTED,
        0.02,
    ),
    "topics apart": Deviation(
        {"rows": 8, "burst": 0.97, "changes": 40, "hold_secs": 10.0}, TWO_INTERRUPTED, 0.02
    ),
    "wrong local clock": Deviation(
        {"clock_ahead": 3600, "readable_after": 4, "rests": SOON}, LATE, 0.14
    ),
    "no Date header": Deviation({"undated": True, "clock_ahead": 20}),
    "several at once": Deviation(
        {
            "applied_late": 0.2,
            "readable_after": 4,
            "twice": 0.1,
            "stray": 0.02,
            "partly_applied": 0.3,
            "expiring": 0.01,
            "rejected_records": True,
            "other_position": 0.1,
            "no_time": 0.1,
            "expire": 0.1,
            "tap_dies": 0.1,
            "older_state": 0.3,
            "many_changes": 10,
            "hold_secs": 25.0,
        },
        "all of the above",
        0.26,
    ),
    "expiry, late messages and stray rejections": Deviation(
        {
            "expiring": 0.1,
            "readable_after": 4,
            "stray": 0.08,
            "expire": 0.4,
            "no_time": 0.2,
            "rests": SOON,
            "older_state": 0.4,
        },
        "all of the above",
        0.45,
    ),
    "two runs at once": Deviation({"overlapping": 0.1}, assumption="one run at a time"),
}


def play(source: str, deviation: str, seeds: range) -> tuple[Counter[str], int | None]:
    """Play histories until one has a violation that is not documented.

    Returns:
        The numbers of histories, runs and messages, and of the histories with each violation; and
        the seed of the history with one that is not documented.
    """
    documented = DEVIATIONS[deviation]
    options = replace(SOURCES[source], **documented.changes)
    counts: Counter[str] = Counter()
    for seed in seeds:
        history = History(seed, options)
        if not history.play():
            continue
        kinds = {kind for kind, _ in history.violations}
        counts.update(
            histories=1,
            runs=history.runs,
            messages=len(history.world.records()),
            lost="A" in kinds,
            untrue="C" in kinds,
            behind="D" in kinds,
        )
        counts["with duplicates"] += "B" in kinds
        if not documented.assumption and kinds - ({"B"} if documented.duplicates else set()):
            return counts, seed
    return counts, None


def trace(source: str, deviation: str, seed: int) -> list[str]:
    """Return what happens in a history, line by line."""
    lines: list[str] = []
    history = History(seed, replace(SOURCES[source], **DEVIATIONS[deviation].changes), lines)
    history.play()
    return [*lines, *(f"{kind}: {text}" for kind, text in history.violations)]
