"""`python -m tests.random.fuzz_target [ROUNDS] [SEED]`: run random rounds, two at a time."""

import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import local

from workato_streams_emulator import Emulator

from tests.random.fuzz_target.rounds import Round

WORKERS = 2
CHECKED = ("lost records", "untrue states", "records out of order", "good records rejected")


def main(rounds: int, seed: int) -> int:
    """Run the rounds, print the counts, and return the exit code."""
    mine = local()
    emulators: list[Emulator] = []

    def play(number: int) -> Round:
        if not hasattr(mine, "emulator"):
            mine.emulator = Emulator.start()
            emulators.append(mine.emulator)
        played = Round(mine.emulator, number)
        try:
            played.play()
        except Exception as exc:  # noqa: BLE001 - counted as a failed round
            played.problems.append(f"{type(exc).__name__}: {exc}")
        for problem in played.problems:
            print(f"seed {number}: {problem}", flush=True)
        return played

    counts: Counter[str] = Counter(dict.fromkeys(CHECKED, 0))
    failed = 0
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            for played in pool.map(play, range(seed, seed + rounds)):
                counts.update(played.counts, rounds=1, records=len(played.streams))
                failed += bool(played.problems)
    finally:
        for emulator in emulators:
            emulator.stop()
    print(", ".join(f"{counts[name]} {name}" for name in ("rounds", "runs", "records", "signals")))
    print(", ".join(f"{counts[name]} {name}" for name in CHECKED))
    return 1 if failed else 0


if __name__ == "__main__":
    given = dict(enumerate(map(int, sys.argv[1:])))
    sys.exit(main(given.get(0, 200), given.get(1, 1)))
