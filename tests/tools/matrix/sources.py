"""Taps that read files, databases and applications, with target-workato-streams."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import requests

from tests.tools.demo import orders
from tests.tools.demo.forwarder import HOST
from tests.tools.matrix import plugins, services
from tests.tools.matrix.plugins import Plugin
from tests.tools.matrix.report import Result, result_of
from tests.tools.matrix.setting import CONNECTORS, Case, Setting, records_of
from tests.tools.matrix.values import Row, Rows, by_key, compare, decode

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

# Rows at the limits of their types, a row of nulls, and an emoji and bytes, which the tap loses.
MARIADB_TYPES = {
    "id": "bigint PRIMARY KEY",
    "amount": "decimal(38,10)",
    "big": "bigint unsigned",
    "ratio": "double",
    "at": "datetime(6)",
    "day": "date",
    "paid": "tinyint(1)",
    "doc": "json",
    "raw": "blob",
    "note": "text",
}
MARIADB_ROWS: list[Row] = [
    {
        "id": 1,
        "amount": Decimal("1234567890123456789012345678.0123456789"),
        "big": 18446744073709551615,
        "ratio": 1e-300,
        "at": "2026-11-24 12:00:00.123456",
        "day": "2026-11-24",
        "paid": True,
        "doc": '{"price": 1.10}',
        "raw": "0000ff",
        "note": "Zoë 🎁",
    },
    {**dict.fromkeys(MARIADB_TYPES), "id": 2},
    {
        "id": 3,
        "amount": Decimal("-0.0000000001"),
        "big": 0,
        "ratio": -0.1,
        "at": "1000-01-01 00:00:00",
        "day": "9999-12-31",
        "paid": False,
        "doc": "[]",
        "raw": "",
        "note": "",
    },
]


@dataclass(frozen=True)
class Source:
    """A tap, its config for a case, and the rows that it should read.

    Attributes:
        plugin: The tap.
        name: What it reads.
        configure: Creates the source of a case, and returns the tap's config.
        rows: The rows of the source.
        catalog: The option with a catalog, if the tap requires one.
        stream: The stream that the catalog selects, if there are others.
    """

    plugin: Plugin
    name: str
    configure: Callable[[Case], dict[str, Any]]
    rows: Rows
    catalog: str = ""
    stream: str | None = None


def run(setting: Setting) -> Iterator[Result]:
    """Load each source into its own topic."""
    of_orders = by_key(ORDERS, "order_id")
    flat = by_key(map(_flat, ORDERS), "order_id")
    for source in (
        Source(plugins.TAP_JSONL, "JSON Lines", _jsonl, of_orders),
        Source(plugins.TAP_SPREADSHEETS, "Excel", _excel, flat),
        Source(plugins.TAP_SPREADSHEETS, "CSV", _csv, flat),
        Source(plugins.PIPELINEWISE_TAP_S3_CSV, "CSV", _s3_csv, flat, "--properties"),
        Source(
            plugins.PIPELINEWISE_TAP_MYSQL,
            "MariaDB",
            _mariadb,
            by_key(MARIADB_ROWS, "id"),
            "--catalog",
        ),
        Source(plugins.TAP_MONGODB, "documents", _mongodb, _documents()),
        Source(plugins.TAP_REST_API, "HTTP", _rest_api, by_key(map(_columns, ORDERS), "order_id")),
        Source(
            plugins.TAP_GITHUB,
            "issues",
            _github,
            _issues(),
            "--catalog",
            "issues",
        ),
    ):
        with result_of(f"{source.plugin} ({source.name}) → {CONNECTORS[1]}") as result:
            _run(setting.case(f"{source.plugin.distribution}-{source.name}"), source, result)
        yield result


def _run(case: Case, source: Source, result: Result) -> None:
    config = source.configure(case)
    options: list[str | Path] = []
    if source.catalog:
        options = [source.catalog, case.catalog(source.plugin, config, source.stream)]
    messages = case.extract(source.plugin, config, *options)
    extracted = records_of(messages)
    columns = list(next(iter(source.rows.values())))
    result.add(source.plugin.distribution, compare(source.rows, extracted, columns))
    result.add(CONNECTORS[1], compare(extracted, case.publish(messages), columns))


def _jsonl(_: Case) -> dict[str, Any]:
    return {"path": str(orders.FILE), "stream_name": "orders", "primary_keys": ["order_id"]}


def _excel(case: Case) -> dict[str, Any]:
    path = case.folder / "orders.xlsx"
    rows = json.dumps([_flat(row) for row in ORDERS], default=float)
    subprocess.run(
        [plugins.TAP_SPREADSHEETS.python, "-c", WRITE_EXCEL, path],
        input=rows,
        text=True,
        check=True,
    )
    return _spreadsheet(path, "excel", worksheet="Sheet")


def _csv(case: Case) -> dict[str, Any]:
    path = case.folder / "orders.csv"
    path.write_text(_csv_lines(), encoding="utf-8")
    return _spreadsheet(path, "csv", delimiter=",", quotechar='"')


def _csv_lines() -> str:
    rows = [_flat(row) for row in ORDERS]
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    return "".join(",".join(f'"{value}"' for value in line) + "\n" for line in lines)


def _spreadsheet(path: Path, kind: str, **more: str) -> dict[str, Any]:
    columns = {"path": str(path), "format": kind, "table_name": "orders", **more}
    return {"files": [{**columns, "primary_keys": ["order_id"]}]}


def _s3_csv(case: Case) -> dict[str, Any]:
    url = case.setting.address(services.s3)
    path = f"{url}/{services.BUCKET}/csv/orders.csv"
    requests.put(path, data=_csv_lines().encode(), timeout=plugins.TIMEOUT_SECS).raise_for_status()
    table = {"search_prefix": "csv", "search_pattern": "orders.csv", "table_name": "orders"}
    return {
        "aws_access_key_id": "x",
        "aws_secret_access_key": "x",
        "aws_endpoint_url": url,
        "bucket": services.BUCKET,
        "start_date": "2020-01-01T00:00:00Z",
        "tables": [{**table, "key_properties": ["order_id"], "delimiter": ","}],
    }


def _mariadb(case: Case) -> dict[str, Any]:
    port = case.setting.address(services.mariadb)
    columns = ", ".join(f"{name} {kind}" for name, kind in MARIADB_TYPES.items())
    values = ", ".join(f"({', '.join(map(_sql, row.items()))})" for row in MARIADB_ROWS)
    sql = f"""
        CREATE DATABASE shop CHARACTER SET utf8mb4;
        CREATE TABLE shop.orders ({columns});
        INSERT INTO shop.orders VALUES {values};
    """  # noqa: S608 - our values
    config = {"host": HOST, "port": port, "user": "test", "password": "test"}
    options = [f"--{name}={value}" for name, value in config.items()]
    # The client must not read the files of a user, such as ~/.my.cnf.
    line = ["mariadb", "--no-defaults", "--protocol=tcp", "--default-character-set=utf8mb4"]
    subprocess.run([*line, *options], input=sql, text=True, check=True)
    return {**config, "filter_dbs": "shop"}


def _sql(column: tuple[str, Any]) -> str:
    name, value = column
    if value is None or isinstance(value, bool | int | float | Decimal):
        return "NULL" if value is None else str(value)
    return f"x'{value}'" if name == "raw" else f"'{value}'"


def _mongodb(_: Case) -> dict[str, Any]:
    # The stand-in ignores the address, and reads the documents from the file.
    address = {"mongodb_connection_string": "mongodb://localhost", "database": "shop"}
    return {**address, "documents": str(orders.FILE)}


def _documents() -> Rows:
    """The records that tap-mongodb makes of the orders."""
    ids = [f"{number:08x}{0:016x}" for number in range(1, len(ORDERS) + 1)]
    pairs = zip(ids, ORDERS, strict=True)
    return by_key(({"object_id": i, "document": {**o, "_id": i}} for i, o in pairs), "object_id")


def _rest_api(case: Case) -> dict[str, Any]:
    stream = {"name": "orders", "path": "/orders", "records_path": "$.data[*]"}
    return {
        "api_url": case.setting.address(services.rest_api),
        "streams": [{**stream, "primary_keys": ["order_id"], "num_inference_records": 50}],
    }


def _columns(order: Row) -> Row:
    """The columns that tap-rest-api-msdk makes of an order; arrays become JSON text."""
    customer = {f"customer_{name}": value for name, value in order["customer"].items()}
    return {**{n: v for n, v in order.items() if n != "customer"}, **customer}


def _issues() -> Rows:
    """The issues; `type` is left out, because the tap renames it to `issue_type`."""
    issues = ({k: v for k, v in each.items() if k != "type"} for each in services.ISSUES)
    return by_key(issues, "id")


def _github(case: Case) -> dict[str, Any]:
    url = case.setting.address(services.github)
    return {"api_url_base": url, "organizations": ["shop"], "start_date": "2020-01-01T00:00:00Z"}


def _flat(order: Row) -> Row:
    """Flatten an order to a row of a spreadsheet."""
    columns = ("order_id", "placed_at", "currency", "total")
    return {**{name: order[name] for name in columns}, "buyer": order["customer"]["name"]}


ORDERS: list[Row] = [decode(line) for line in orders.FILE.read_bytes().splitlines()]
