"""Many histories of every kind of source."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.exactly_once.history import History, Options
from tests.exactly_once.service import Faults

if TYPE_CHECKING:
    from collections.abc import Mapping

CAMPAIGNS: Mapping[str, Options] = {
    "log": Options("log"),
    "log with equal events": Options("log", source={"equal_events": True}),
    "log with rejected records": Options("log", source={"rejected": True}),
    "log without keys": Options("keyless log", source={"versions": 2}),
    "log with and without keys": Options(
        "mixed log", streams=3, source={"equal_events": True, "rejected": True}
    ),
    "incremental": Options("incremental"),
    "incremental, time of update in the content": Options(
        "incremental", source={"update_in_content": True}
    ),
    "snapshot": Options("snapshot"),
    "incremental that changes while it is read": Options(
        "incremental",
        streams=1,
        older_state=0.5,
        faults=Faults(kill=0.1, lost=0.0, partial=0.0),
        source={"rows": 1, "versions": 2, "changes_while_read": 0.7},
    ),
    "snapshot that changes while it is read": Options(
        "snapshot",
        streams=1,
        older_state=0.5,
        faults=Faults(kill=0.1, lost=0.0, partial=0.0),
        source={"rows": 1, "versions": 2, "changes_while_read": 0.7},
    ),
    "log whose tap dies": Options("log", tap_dies=0.3, source={"equal_events": True}),
    "tables whose tap dies": Options("mixed tables", streams=3, tap_dies=0.3),
    "snapshot without keys": Options("keyless snapshot"),
    "incremental without keys": Options("keyless incremental"),
    "one after another, two topics": Options("mixed tables", streams=3),
    "one after another, one topic": Options("mixed tables", streams=4, topics=1),
}


@dataclass
class Result:
    """The result of a campaign.

    Attributes:
        counts: The numbers of histories, runs, messages, kills and lost responses.
        failed: The first history with a violation, with its seed.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failed: tuple[int, History] | None = None


def play(options: Options, seeds: range) -> Result:
    """Play histories until one has a violation."""
    logging.disable(logging.CRITICAL)
    result = Result()
    try:
        for seed in seeds:
            history = History(seed, options)
            if not history.play():
                continue
            result.counts.update(
                histories=1,
                runs=history.runs,
                messages=sum(len(history.service.of_stream(s)) for s in history.source.kinds),
                kills=history.service.kills,
                lost=history.service.lost,
            )
            if history.violations:
                result.failed = (seed, history)
                break
    finally:
        logging.disable(logging.NOTSET)
    return result
