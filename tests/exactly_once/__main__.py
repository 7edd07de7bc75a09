"""Play random histories for a time: `python -m tests.exactly_once [SECONDS] [SEED]`."""

from __future__ import annotations

import sys
import time
from collections import Counter

from tests.exactly_once.campaign import CAMPAIGNS, play

HISTORIES_PER_ROUND = 20


def main(secs: float, seed: int) -> int:
    """Play rounds of all campaigns until the time is over or there is a violation."""
    ends_at = time.monotonic() + secs
    totals: dict[str, Counter[str]] = {name: Counter() for name in CAMPAIGNS}
    while time.monotonic() < ends_at:
        for name, options in CAMPAIGNS.items():
            result = play(options, range(seed, seed + HISTORIES_PER_ROUND))
            totals[name].update(result.counts)
            if result.failed:
                failed_seed, history = result.failed
                print("\n".join(history.service.trace))  # noqa: T201
                print("\n".join(history.violations))  # noqa: T201
                print(f"{name}: seed {failed_seed} failed")  # noqa: T201
                return 1
        seed += HISTORIES_PER_ROUND
    for name, counts in totals.items():
        print(f"{name}: {_in_words(counts)}")  # noqa: T201
    print(f"all: {_in_words(sum(totals.values(), Counter()))}; 0 violations")  # noqa: T201
    return 0


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(f"{counts[name]:,} {name}" for name in counts)


if __name__ == "__main__":
    sys.exit(main(float((sys.argv[1:2] or ["60"])[0]), int((sys.argv[2:3] or ["0"])[0])))
