"""Taps that read files, with target-workato-streams."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.tools.demo import orders
from tests.tools.matrix import plugins
from tests.tools.matrix.report import result_of
from tests.tools.matrix.setting import CONNECTORS, records_of
from tests.tools.matrix.values import by_key, compare, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.tools.matrix.plugins import Plugin
    from tests.tools.matrix.report import Result
    from tests.tools.matrix.setting import Case, Setting
    from tests.tools.matrix.values import Row, Rows

# openpyxl is only installed in the plugin's environment.
WRITE_EXCEL = """
import json, sys
from openpyxl import Workbook
book = Workbook()
rows = json.load(sys.stdin)
book.active.append(list(rows[0]))
for row in rows:
    book.active.append(list(row.values()))
book.save(sys.argv[1])
"""


@dataclass(frozen=True)
class Source:
    """A tap, its config for a folder, and the rows that it should read."""

    plugin: Plugin
    name: str
    configure: Callable[[Path], dict[str, Any]]
    rows: Rows


def run(setting: Setting) -> Iterator[Result]:
    """Load each source into its own topic."""
    flat = [_flat(row) for row in ORDERS]
    for source in (
        Source(plugins.TAP_JSONL, "JSON Lines", _jsonl, by_key(ORDERS, "order_id")),
        Source(plugins.TAP_SPREADSHEETS, "Excel", _excel, by_key(flat, "order_id")),
        Source(plugins.TAP_SPREADSHEETS, "CSV", _csv, by_key(flat, "order_id")),
    ):
        with result_of(f"{source.plugin} ({source.name}) → {CONNECTORS[1]}") as result:
            _run(setting.case(f"{source.plugin.distribution}-{source.name}"), source, result)
        yield result


def _run(case: Case, source: Source, result: Result) -> None:
    messages = case.extract(source.plugin, source.configure(case.folder))
    extracted = records_of(messages)
    columns = list(next(iter(source.rows.values())))
    result.add(source.plugin.distribution, compare(source.rows, extracted, columns))
    result.add(CONNECTORS[1], compare(extracted, case.publish(messages), columns))


def _jsonl(_: Path) -> dict[str, Any]:
    return {"path": str(orders.FILE), "stream_name": "orders", "primary_keys": ["order_id"]}


def _excel(folder: Path) -> dict[str, Any]:
    path = folder / "orders.xlsx"
    rows = json.dumps([_flat(row) for row in ORDERS], default=float)
    subprocess.run(
        [plugins.TAP_SPREADSHEETS.python, "-c", WRITE_EXCEL, path],
        input=rows,
        text=True,
        check=True,
    )
    return _spreadsheet(path, "excel", worksheet="Sheet")


def _csv(folder: Path) -> dict[str, Any]:
    path = folder / "orders.csv"
    rows = [_flat(row) for row in ORDERS]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    text = "".join(",".join(f'"{value}"' for value in line) + "\n" for line in lines)
    path.write_text(text, encoding="utf-8")
    return _spreadsheet(path, "csv", delimiter=",", quotechar='"')


def _spreadsheet(path: Path, kind: str, **more: str) -> dict[str, Any]:
    columns = {"path": str(path), "format": kind, "table_name": "orders", **more}
    return {"files": [{**columns, "primary_keys": ["order_id"]}]}


def _flat(order: Row) -> Row:
    """Flatten an order to a row of a spreadsheet."""
    columns = ("order_id", "placed_at", "currency", "total")
    return {**{name: order[name] for name in columns}, "buyer": order["customer"]["name"]}


ORDERS: list[Row] = [decode(line) for line in orders.FILE.read_bytes().splitlines()]
