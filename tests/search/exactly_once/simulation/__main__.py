"""Play random histories: `python -m tests.search.exactly_once.simulation [HISTORIES] [SEED]`."""

import logging
import sys
from collections import Counter
from collections.abc import Iterable

from tests.search.exactly_once.simulation.campaign import DEVIATIONS, SOURCES, play, trace

# With fewer histories of a deviation, the share of those with duplicates says little.
ENOUGH_HISTORIES = 300


COLUMNS = ("histories", "runs", "messages", "with duplicates", "lost", "untrue", "behind")


def main(histories: int, seed: int) -> int:
    """Play at least so many histories, of each deviation and source the same number."""
    logging.disable()  # Its lines would only repeat the trace.
    each = -(-histories // (len(DEVIATIONS) * len(SOURCES)))
    total: Counter[str] = Counter()
    print(_row("", COLUMNS, "duplicated, or contradicted"))  # noqa: T201
    for name, deviation in DEVIATIONS.items():
        counts: Counter[str] = Counter()
        for source in SOURCES:
            played, failed = play(source, name, range(seed, seed + each))
            counts.update(played)
            if failed is not None:
                print("\n".join(trace(source, name, failed)))  # noqa: T201
                print(f"{source}, {name}: seed {failed} has a violation")  # noqa: T201
                return 1
        note = f"({deviation.assumption})" if deviation.assumption else deviation.duplicates
        print(_row(name, _cells(counts), note), flush=True)  # noqa: T201
        if deviation.assumption:
            continue
        total += counts
        share = counts["with duplicates"] / counts["histories"]
        if counts["histories"] >= ENOUGH_HISTORIES and share > deviation.share:
            print(f"{name}: {share:.1%} of the histories have duplicates, from seed {seed}")  # noqa: T201
            return 1
    print(_row("all but (contradictions)", _cells(total), f"from seed {seed}"))  # noqa: T201
    return 0


def _cells(counts: Counter[str]) -> list[str]:
    return [f"{counts[name]:,}" for name in COLUMNS]


def _row(name: str, cells: Iterable[str], note: str) -> str:
    widths = [max(len(title), 8) + 2 for title in COLUMNS]
    padded = [f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)]
    return f"{name:44}{''.join(padded)}  {note}"


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:2] or ["15000"])[0]), int((sys.argv[2:3] or ["0"])[0])))
