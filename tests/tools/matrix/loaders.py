"""Loaders with the records of tap-workato-streams."""

from __future__ import annotations

import csv
import gzip
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from workato_streams_emulator import StoredMessage

from tests.tools.demo import orders
from tests.tools.matrix import plugins, services
from tests.tools.matrix.plugins import Plugin
from tests.tools.matrix.postgres import LOADERS, read_table
from tests.tools.matrix.report import Result, result_of
from tests.tools.matrix.setting import CONNECTORS, FORMATS, Case, Setting, records_of
from tests.tools.matrix.values import Row, by_key, compare, decode

# DuckDB is only installed in the plugin's environment.
READ_DUCKDB = """
import duckdb, json, sys
table = duckdb.connect(sys.argv[1], read_only=True).sql("SELECT * FROM main.orders")
print(json.dumps([dict(zip(table.columns, row)) for row in table.fetchall()], default=str))
"""


# The sample takes the oldest and the newest page, so these fields appear in the middle of the run.
NEW_FIELDS = b', "discount": 2.50, "gift": {"wrap": "red", "n": [1]}, "checked_at": "2026-11-03"}'
# More digits than a double has, and an offset.
LIMITS = (
    b'{"order_id": "ORD-LIMITS", "total": 12345678901234567890.12,'
    b' "placed_at": "2026-11-25T01:30:00+02:00", "customer": {"id": 12345678901234567890}}'
)
BY_KEY = {"stream_maps": {"orders": {"__key_properties__": ["order_id"]}}}


@dataclass(frozen=True)
class Loader:
    """A target, its config for a case, and a function that reads the loaded rows.

    Attributes:
        plugin: The target.
        configure: Creates what the target needs, and returns its config.
        read: Returns the rows that the target has stored.
        staged: Returns the rows of its staged files, if it has any.
    """

    plugin: Plugin
    configure: Callable[[Case], dict[str, Any]]
    read: Callable[[Case], list[dict[str, Any]]]
    staged: Callable[[Case], list[dict[str, Any]]] | None = None


@dataclass(frozen=True)
class Topic:
    """What is loaded: the settings of the tap, the payloads, and the key of the table."""

    settings: dict[str, Any]
    payloads: list[bytes]
    key: str = "message_id"


def topics() -> dict[str, Topic]:
    """Return the topics by the title of their column."""
    # Of several differences in a column, the first one is shown.
    payloads = [LIMITS, *orders.FILE.read_bytes().splitlines()]
    with_new_fields = [
        payload[:-1] + NEW_FIELDS if 400 <= number < 600 else payload
        for number, payload in enumerate(payloads)
    ]
    updates = [payload.replace(b'"currency": "', b'"currency": "X-') for payload in payloads[::3]]
    unpacked = FORMATS["unpacked"]
    return {
        "Nested records": Topic(FORMATS["nested"], payloads),
        "Unpacked records": Topic(unpacked, payloads),
        "New fields during a run": Topic(unpacked, with_new_fields),
        "Latest row per key": Topic({**unpacked, **BY_KEY}, [*payloads, *updates], "order_id"),
    }


def run(setting: Setting) -> Iterator[Result]:
    """Load each topic with each loader."""
    postgres = [Loader(plugin, configure, read_table) for plugin, configure in LOADERS.items()]
    for number, loader in enumerate(
        (
            *postgres,
            Loader(plugins.TARGET_SNOWFLAKE, _snowflake, _read_snowflake, _read_staged_files),
            Loader(plugins.TARGET_ELASTICSEARCH, _elasticsearch, _read_elasticsearch),
            Loader(plugins.TARGET_S3, _s3, _read_s3),
            Loader(plugins.TARGET_JSONL, jsonl_config, read_jsonl),
            Loader(plugins.MELTANOLABS_TARGET_CSV, _csv, _read_csv),
            Loader(plugins.TARGET_DUCKDB, _duckdb, _read_duckdb),
            Loader(plugins.TARGET_DUCKDB_OLD, _duckdb, _read_duckdb),
        )
    ):
        yield from _load(setting, loader, number)


def run_bigquery(setting: Setting) -> Iterator[Result]:
    """Load each topic into BigQuery, in the default layout: one column of JSON."""
    yield from _load(setting, Loader(plugins.TARGET_BIGQUERY, _bigquery, _read_bigquery))


def _load(setting: Setting, loader: Loader, position: int = 0) -> Iterator[Result]:
    for number, (title, topic) in enumerate(topics().items()):
        case = setting.case(f"{loader.plugin.distribution}-{position}-{number}")
        setting.emulator.load(case.topic_id, topic.payloads)
        with result_of(f"{loader.plugin}, {title}") as result:
            _run(case, loader, topic, result)
        yield result


def _run(case: Case, loader: Loader, topic: Topic, result: Result) -> None:
    messages = case.consume(**topic.settings)
    read = records_of(messages, "message_id")
    sent = by_key((_record(case, topic, each) for each in _messages(case)), "message_id")
    columns = list(dict.fromkeys(name for row in sent.values() for name in row))
    result.add(CONNECTORS[0], compare(sent, read, columns))
    config = loader.configure(case)
    case.load(loader.plugin, config, messages)
    # The last message of a key is the latest one.
    before = by_key(read.values(), topic.key)
    columns = list(dict.fromkeys(name for row in read.values() for name in row))
    if loader.staged:
        staged = by_key(loader.staged(case), topic.key)
        result.add(loader.plugin.distribution, compare(before, staged, columns))
        before = staged
    rows = loader.read(case)
    loaded = by_key(rows, topic.key)
    stage = "after staging" if loader.staged else loader.plugin.distribution
    result.add(stage, compare(before, loaded, columns))
    if len(rows) > len(loaded):
        result.remark(loader.plugin.distribution, "keeps all versions of a row")
    # A stand-in may keep its data only as long as its process runs.
    if not loader.plugin.stand_in:
        case.load(loader.plugin, config, _last_record(messages))
        if len(loader.read(case)) < len(rows):
            result.failure = "each run removes the rows of the run before"


def _last_record(messages: Path) -> Path:
    """Write what the next run of an incremental load may emit: the schema and one record."""
    lines = messages.read_bytes().splitlines(keepends=True)
    path = messages.with_name("next.singer")
    path.write_bytes(b"".join([each for each in lines if b'"SCHEMA"' in each]))
    with path.open("ab") as file:
        file.write([each for each in lines if b'"RECORD"' in each][-1])
    return path


def _messages(case: Case) -> Iterator[StoredMessage]:
    yield from case.setting.emulator.messages(case.topic_id)


def _record(case: Case, topic: Topic, message: StoredMessage) -> Row:
    payload = decode(message.payload)
    return {
        "message_id": message.message_id,
        "topic_id": case.topic_id,
        "time": message.time,
        **(payload if topic.settings else {"payload": payload}),
    }


def jsonl_config(case: Case) -> dict[str, Any]:
    """Configure target-jsonl to write into the case's folder."""
    return {"destination_path": str(case.folder), "custom_name": "orders"}


def read_jsonl(case: Case) -> list[dict[str, Any]]:
    """Return the rows that target-jsonl has written; each run has its own file."""
    paths = sorted(case.folder.glob("orders*.jsonl"))
    return [decode(line) for path in paths for line in path.read_bytes().splitlines()]


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


def _snowflake(_: Case) -> dict[str, Any]:
    connection = {"account": "test", "user": "test", "password": "test", "warehouse": "TEST"}
    schema = {"database": "ANALYTICS", "default_target_schema": "EVENT_STREAMS"}
    return {**connection, **schema, "timestamp_type": "TIMESTAMP_TZ"}


def _read_snowflake(case: Case) -> list[dict[str, Any]]:
    config = case.folder / "loader.json"
    line: list[str | Path] = [*plugins.TARGET_SNOWFLAKE.command, "--config", config]
    done = subprocess.run([*line, "--rows", "ORDERS"], capture_output=True, check=True)
    rows = []
    for columns_of_json, row in map(decode, done.stdout.splitlines()):
        rows.append({k: decode(v) if v and k in columns_of_json else v for k, v in row.items()})
    return rows


def _read_staged_files(case: Case) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    files = (case.folder / "staged").glob("**/*.gz")
    # A file is read after those that were staged earlier.
    for path in sorted(files, key=lambda path: path.stat().st_mtime_ns):
        lines = gzip.decompress(path.read_bytes()).splitlines()
        rows.extend(map(decode, lines))
    return rows


def _elasticsearch(case: Case) -> dict[str, Any]:
    url = urlsplit(case.setting.address(services.elasticsearch))
    # Each case has its own index.
    return {
        "scheme": url.scheme,
        "host": url.hostname,
        "port": url.port,
        "index_format": case.folder.name,
    }


def _read_elasticsearch(case: Case) -> list[dict[str, Any]]:
    url = f"{case.setting.address(services.elasticsearch)}/documents/{case.folder.name}"
    return [decode(line) for line in requests.get(url, timeout=60).content.splitlines()]


def _s3(case: Case) -> dict[str, Any]:
    access = {"aws_access_key_id": "x", "aws_secret_access_key": "x", "aws_region": "us-east-1"}
    url = case.setting.address(services.s3)
    bucket = {"aws_bucket": services.BUCKET, "aws_endpoint_override": url}
    return {
        "format": {"format_type": "jsonl"},
        "cloud_provider": {"cloud_provider_type": "aws", "aws": {**access, **bucket}},
        "prefix": case.folder.name,
    }


def _read_s3(case: Case) -> list[dict[str, Any]]:
    url = f"{case.setting.address(services.s3)}/{services.BUCKET}"
    query = {"list-type": "2", "prefix": f"{case.folder.name}/"}
    listing = requests.get(url, params=query, timeout=60).text
    rows: list[dict[str, Any]] = []
    for key in re.findall("<Key>(.*?)</Key>", listing):
        # requests decompresses the response if the object has a Content-Encoding.
        content = requests.get(f"{url}/{key}", timeout=60).content
        lines = gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
        rows.extend(map(decode, lines.splitlines()))
    return rows


def _bigquery(case: Case) -> dict[str, Any]:
    return {
        "emulator": case.setting.address(services.bigquery),
        "project": "test",
        "dataset": case.folder.name.replace("-", "_"),
        "method": "streaming_insert",
        "options": {"process_pool": False},
    }


def _read_bigquery(case: Case) -> list[dict[str, Any]]:
    config = _bigquery(case)
    path = f"/bigquery/v2/projects/test/datasets/{config['dataset']}/tables/orders/data"
    page = requests.get(config["emulator"] + path, params={"maxResults": 10_000}, timeout=60).json()
    return [decode(row["f"][0]["v"]) for row in page["rows"]]
