"""`make matrix`: run every pipeline, and write the tables of docs/compatibility.md.

Exits with 1 if one of our connectors fails, loses a row or changes a value.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.tools.demo.interrupts import exit_on_signals
from tests.tools.demo.warehouse import warehouse
from tests.tools.matrix import loaders, mappers, report, round_trip, sources
from tests.tools.matrix.plugins import PLUGINS, PluginFailedError, install
from tests.tools.matrix.setting import CONNECTORS, Setting

PARTS = {
    "sources": (sources.run, report.summary),
    "loaders": (loaders.run, report.by_format),
    "mappers": (mappers.run, report.summary),
}


def main() -> int:
    """Run the matrix, and return its exit code."""
    exit_on_signals()
    parser = argparse.ArgumentParser(prog="python -m tests.tools.matrix", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "postgres"]))
    wanted = parser.parse_args().parts or [*PARTS, "postgres"]
    began = time.monotonic()
    for number, plugin in enumerate(PLUGINS, 1):
        print(f"installing {number} of {len(PLUGINS)}: {plugin}", flush=True)
        try:
            install(plugin)
        except PluginFailedError as exc:
            print(exc, file=sys.stderr)
            return 1
    results, tables = [], []
    with tempfile.TemporaryDirectory(prefix="matrix-") as name:
        folder = Path(name)
        with (
            Emulator.start() as emulator,
            warehouse(folder / "warehouse") as database,
        ):
            setting = Setting(emulator, database, folder)
            for part, (run, table_of) in PARTS.items():
                if part in wanted:
                    found = list(run(setting))
                    results += found
                    tables.append(table_of(part, found))
                    print(f"\n{part}\n{tables[-1]}", flush=True)
            if "postgres" in wanted:
                found, table = round_trip.run(setting)
                results += found
                tables.append(table)
                print(f"\npostgres\n{table}", flush=True)
    report.write(tables)
    print(f"{report.PAGE} written after {time.monotonic() - began:.0f} s")
    ours = [
        result
        for result in results
        if result.blamed & set(CONNECTORS) or (result.failure or "").startswith(CONNECTORS)
    ]
    for result in ours:
        print(f"FAILED: {result.pipeline}: {result.notes}", file=sys.stderr)
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())
