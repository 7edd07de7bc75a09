"""`make matrix`: run every pipeline, and write the tables of docs/compatibility.md.

Exits with 1 if one of our connectors fails, loses a row or changes a value.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.tools.demo.interrupts import exit_on_signals
from tests.tools.demo.warehouse import warehouse
from tests.tools.matrix import loaders, mappers, report, round_trip, sources
from tests.tools.matrix.plugins import (
    BIGQUERY_PLUGINS,
    NEWEST,
    PLUGINS,
    Plugin,
    PluginFailedError,
    install,
)
from tests.tools.matrix.setting import CONNECTORS, Setting

PARTS = {
    "sources": (sources.run, report.summary),
    "loaders": (loaders.run, report.by_topic),
    "mappers": (mappers.run, report.summary),
    "bigquery": (loaders.run_bigquery, report.by_topic),
}
DEFAULT = ("sources", "loaders", "mappers", "postgres")


def main() -> int:
    """Run the matrix, and return its exit code."""
    exit_on_signals()
    parser = argparse.ArgumentParser(prog="python -m tests.tools.matrix", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join([*PARTS, "postgres"]))
    wanted = parser.parse_args().parts or DEFAULT
    needed = (PLUGINS if wanted != ["bigquery"] else ()) + (
        BIGQUERY_PLUGINS if "bigquery" in wanted else ()
    )
    for number, plugin in enumerate(needed, 1):
        print(f"installing {number} of {len(needed)}: {plugin}", flush=True)
        try:
            install(plugin)
        except PluginFailedError as exc:
            print(exc, file=sys.stderr)
            return 1
    began = time.monotonic()
    results, tables = [], []
    with tempfile.TemporaryDirectory(prefix="matrix-") as name, ExitStack() as running:
        folder = Path(name)
        emulator = running.enter_context(Emulator.start())
        database = running.enter_context(warehouse(folder / "warehouse"))
        setting = Setting(emulator, database, folder, running)
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
    print(f"all pipelines were run in {time.monotonic() - began:.0f} s")
    if NEWEST:
        _report_newer(tables, needed)
    else:
        report.write(tables)
        print(f"{report.PAGE} written")
    ours = [result for result in results if result.is_caused_by(CONNECTORS)]
    for result in ours:
        print(f"FAILED: {result.pipeline}: {result.notes}", file=sys.stderr)
    return 1 if ours else 0


def _report_newer(tables: list[report.Table], needed: tuple[Plugin, ...]) -> None:
    """Print the results that differ from the page, as warnings of GitHub's workflows."""
    installed = {plugin: plugin.installed_version() for plugin in needed}
    newer = {plugin: version for plugin, version in installed.items() if version != plugin.version}
    for plugin, version in newer.items():
        print(f"newer: {plugin.distribution} {version} instead of {plugin.version}")
    for line in report.differences(tables):
        named = [f"{each.distribution} {newer[each]}" for each in newer if str(each) in line]
        print(f"::warning title=Differs with {', '.join(named) or 'newer requirements'}::{line}")


if __name__ == "__main__":
    sys.exit(main())
