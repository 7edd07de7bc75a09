"""Play random histories: `python -m tests.search.exactly_once.simulation [HISTORIES] [SEED]`."""

import logging
import sys
from collections import Counter

from tests.search.exactly_once.simulation.campaign import DEVIATIONS, SOURCES, play, trace

# With fewer histories of a deviation, the share of those with duplicates says little.
ENOUGH_HISTORIES = 300


def main(histories: int, seed: int) -> int:
    """Play at least so many histories, of each deviation and source the same number."""
    logging.disable()  # Its lines would only repeat the trace.
    each = -(-histories // (len(DEVIATIONS) * len(SOURCES)))
    total: Counter[str] = Counter()
    for name, deviation in DEVIATIONS.items():
        counts: Counter[str] = Counter()
        for source in SOURCES:
            played, failed = play(source, name, range(seed, seed + each))
            counts.update(played)
            if failed is not None:
                print("\n".join(trace(source, name, failed)))  # noqa: T201
                print(f"{source}, {name}: seed {failed} has a violation")  # noqa: T201
                return 1
        if deviation.assumption:
            print(f"{name}: {_in_words(counts)}; contradicts: {deviation.assumption}")  # noqa: T201
            continue
        print(f"{name}: {_in_words(counts)}; {deviation.duplicates or 'no duplicates'}")  # noqa: T201
        total += counts
        share = counts["duplicated"] / counts["histories"]
        if counts["histories"] >= ENOUGH_HISTORIES and share > deviation.share:
            print(f"{name}: {share:.1%} of the histories have duplicates, from seed {seed}")  # noqa: T201
            return 1
    print(f"all but those that contradict, from seed {seed}: {_in_words(total)}")  # noqa: T201
    return 0


def _in_words(counts: Counter[str]) -> str:
    return (
        "{histories:,} histories, {runs:,} runs ({failures:,} failed), {messages:,} messages; "
        "histories with duplicates: {duplicated:,}, with losses or untrue states: {violated:,}"
    ).format_map(counts)


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:2] or ["15000"])[0]), int((sys.argv[2:3] or ["0"])[0])))
