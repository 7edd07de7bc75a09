"""Run the benchmarks: `python -m tests.tools.benchmarks [--quick] [NAME ...]`."""

from __future__ import annotations

import argparse
import time

from tests.tools.benchmarks import (
    emulator,
    plot,
    published_rows,
    report,
    startup,
    tail_latency,
    tap_round_trips,
    tap_throughput,
    tap_unpacked,
    target_memory,
    target_round_trips,
    target_throughput,
)
from tests.tools.benchmarks.scale import FULL, QUICK

BENCHMARKS = {
    "tap": tap_throughput.run,
    "unpacked": tap_unpacked.run,
    "tap-50ms": tap_round_trips.run,
    "tail": tail_latency.run,
    "target": target_throughput.run,
    "target-50ms": target_round_trips.run,
    "target-memory": target_memory.run,
    "published-rows": published_rows.speed,
    "store": published_rows.store,
    "hot-rows": published_rows.requests,
    "startup": startup.run,
    "emulator": emulator.run,
}


def main() -> None:
    """Run the benchmarks and print their tables; a full run also writes RESULTS.md."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--quick", action="store_true", help="use a tenth of the messages")
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"unknown benchmarks: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    sections = []
    for name in arguments.names or BENCHMARKS:
        print(f"{name} ...", flush=True)
        sections.append(BENCHMARKS[name](QUICK if arguments.quick else FULL))
        print(f"\n{sections[-1]}", flush=True)
    print(f"took {time.monotonic() - began:.0f} s")
    if not arguments.quick and not arguments.names:
        report.write(sections)
        plot.main()
        print(f"written to {report.RESULTS} and {plot.path('light')}")


if __name__ == "__main__":
    main()
