"""Loaders with the records of tap-workato-streams."""

from __future__ import annotations

import csv
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.tools.demo import orders
from tests.tools.matrix import plugins
from tests.tools.matrix.postgres import LOADERS, read_table
from tests.tools.matrix.report import result_of
from tests.tools.matrix.setting import CONNECTORS, FORMATS, records_of
from tests.tools.matrix.values import by_key, compare, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tools.matrix.plugins import Plugin
    from tests.tools.matrix.report import Result
    from tests.tools.matrix.setting import Case, Setting
    from tests.tools.matrix.values import Rows

# DuckDB is only installed in the plugin's environment.
READ_DUCKDB = """
import duckdb, json, sys
table = duckdb.connect(sys.argv[1], read_only=True).sql("SELECT * FROM main.orders")
print(json.dumps([dict(zip(table.columns, row)) for row in table.fetchall()], default=str))
"""


@dataclass(frozen=True)
class Loader:
    """A target, its config for a case, and a function that reads the loaded rows."""

    plugin: Plugin
    configure: Callable[[Case], dict[str, Any]]
    read: Callable[[Case], list[dict[str, Any]]]


def run(setting: Setting) -> Iterator[Result]:
    """Load a topic of orders with each loader, in each record format."""
    payloads = orders.FILE.read_bytes().splitlines()
    postgres = [Loader(plugin, configure, read_table) for plugin, configure in LOADERS.items()]
    for loader in (
        *postgres,
        Loader(plugins.TARGET_JSONL, jsonl_config, read_jsonl),
        Loader(plugins.MELTANOLABS_TARGET_CSV, _csv, _read_csv),
        Loader(plugins.TARGET_DUCKDB, _duckdb, _read_duckdb),
        Loader(plugins.TARGET_DUCKDB_OLD, _duckdb, _read_duckdb),
    ):
        for name, settings in FORMATS.items():
            case = setting.case(f"{name}-{loader.plugin.folder.name}")
            setting.emulator.load(case.topic_id, payloads)
            with result_of(f"{loader.plugin}, {name}") as result:
                _run(case, loader, settings, result)
            yield result


def _run(case: Case, loader: Loader, settings: dict[str, Any], result: Result) -> None:
    messages = case.consume(**settings)
    read = records_of(messages)
    sent = by_key(
        (
            {
                "message_id": message.message_id,
                "topic_id": case.topic_id,
                "time": message.time,
                **(decode(message.payload) if settings else {"payload": decode(message.payload)}),
            }
            for message in case.setting.emulator.messages(case.topic_id)
        ),
        "message_id",
    )
    result.add(CONNECTORS[0], compare(sent, read, next(iter(sent.values()))))
    case.load(loader.plugin, loader.configure(case), messages)
    columns = list(dict.fromkeys(name for row in read.values() for name in row))
    result.add(loader.plugin.distribution, compare(read, _loaded(case, loader), columns))


def _loaded(case: Case, loader: Loader) -> Rows:
    return by_key(loader.read(case), "message_id")


def jsonl_config(case: Case) -> dict[str, Any]:
    """Configure target-jsonl to write into the case's folder."""
    return {"destination_path": str(case.folder), "custom_name": "orders"}


def read_jsonl(case: Case) -> list[dict[str, Any]]:
    """Return the rows that target-jsonl has written."""
    [path] = case.folder.glob("orders*.jsonl")
    return [decode(line) for line in path.read_bytes().splitlines()]


def _csv(case: Case) -> dict[str, Any]:
    return {"output_path": str(case.folder)}


def _read_csv(case: Case) -> list[dict[str, Any]]:
    with (case.folder / "orders.csv").open(encoding="utf-8", newline="") as lines:
        return [{k: v or None for k, v in row.items()} for row in csv.DictReader(lines)]


def _duckdb(case: Case) -> dict[str, Any]:
    return {"path": str(case.folder / "orders.duckdb"), "default_target_schema": "main"}


def _read_duckdb(case: Case) -> list[dict[str, Any]]:
    done = subprocess.run(
        [plugins.TARGET_DUCKDB.python, "-c", READ_DUCKDB, case.folder / "orders.duckdb"],
        capture_output=True,
        check=True,
    )
    rows: list[dict[str, Any]] = decode(done.stdout)
    return rows
