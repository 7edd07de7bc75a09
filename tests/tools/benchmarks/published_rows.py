"""The cost of the memory of published rows: speed, the size of the store, and requests."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import target_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn
from tests.tools.benchmarks.report import MIB, Goal, Section, costs
from tests.tools.benchmarks.scale import Scale
from tests.tools.demo.warehouse import Warehouse, warehouse

BATCH = 100
# Rows of a store that hardly contains anything, and of those that are new in a run.
FEW_ROWS = 1_000
# Expected records per request: the number of random rows drawn before one repeats, at most 100.
HOT_ROWS = {5: 2.5, 100: 12.0, 1_000: 39.0, 10_000: 84.0}
SPEED = """\
{messages:,} records of 500 bytes, each for a different new row, from a file into one topic: without
a store of published rows, and with one in SQLite, also with `exactly_once`, and in PostgreSQL on
the same machine. Each request is between two transactions that are durable."""
STORE = """\
A store of {many:,} rows: its size, the time in which its rows are skipped if they come again, and
the time for {messages:,} new rows, which is compared with that of a store of {few:,} rows."""
REQUESTS = """\
Records of a few rows that change at random, with `exactly_once` and without a STATE in between. A
batch never contains the same row twice."""


@contextmanager
def _stores() -> Iterator[tuple[Path, Warehouse]]:
    """A folder for stores in SQLite, and a PostgreSQL server."""
    # The server's user cannot access the folder of another user.
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        with warehouse(folder / "data") as server:
            yield folder, server


def _socket_url(server: Warehouse) -> str:
    return f"postgresql://postgres@/postgres?host={server.socket}"


def _clear(folder: Path, server: Warehouse) -> None:
    for path in folder.glob("rows.db*"):
        path.unlink()
    server.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")


def speed(scale: Scale) -> Section:
    """Measure the target with and without stores."""
    with Emulator.start() as emulator, _stores() as (folder, server):
        source = workload.write_singer_file(folder / "orders.jsonl", scale.messages)
        topic_id = emulator.create_topic()
        file = (folder / "rows.db").as_uri()
        settings: dict[str, Mapping[str, object]] = {
            "without": {},
            "SQLite": {"published_rows_url": file},
            "SQLite, exactly_once": {"published_rows_url": file, "exactly_once": True},
            "PostgreSQL": {"published_rows_url": _socket_url(server)},
        }

        def contender(who: str) -> Callable[[], Run]:
            def contend() -> Run:
                emulator.purge(topic_id)
                _clear(folder, server)
                config = target_config(folder, emulator, topic_id, **settings[who])
                line = command("target-workato-streams", "--config", config)
                run = measure(emulator, line, stdin=source)
                workload.check(who, workload.published(emulator, topic_id), scale.messages)
                return run

            return contend

        runs = measure_in_turn({who: contender(who) for who in settings}, scale.runs)

    def ratio(who: str) -> float:
        return runs["without"].wall_secs / runs[who].wall_secs

    more = runs["SQLite, exactly_once"].requests - runs["without"].requests
    return Section(
        "Publish only what has changed: speed",
        SPEED.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[
            Goal("speed with SQLite relative to that without", ratio("SQLite"), 0.8, "x"),
            Goal("speed with PostgreSQL relative to that without", ratio("PostgreSQL"), 0.6, "x"),
            Goal("additional requests of exactly_once", more, 1, at_most=True),
        ],
    )


def store(scale: Scale) -> Section:
    """Measure a store with many rows: its size, and the time to skip them and to add others."""
    many = scale.many_messages
    rows: list[list[str]] = []
    goals: list[Goal] = []
    with Emulator.start() as emulator, _stores() as (folder, server):
        for kind, url in (
            ("SQLite", (folder / "rows.db").as_uri()),
            ("PostgreSQL", _socket_url(server)),
        ):
            run = _Publisher(emulator, folder, url)
            _clear(folder, server)
            run(0, FEW_ROWS)
            few_bytes = _bytes(folder, server)
            few = run.add(FEW_ROWS, scale)
            run = _Publisher(emulator, folder, url)
            _clear(folder, server)
            run(0, many)
            per_row = (_bytes(folder, server) - few_bytes) / (many - FEW_ROWS)
            skipped = run(0, many)
            more = run.add(many, scale)
            rows.append(
                [
                    kind,
                    f"{per_row:.0f}",
                    f"{skipped.wall_secs:.1f}",
                    f"{skipped.peak_bytes / MIB:.0f}",
                    f"{few:.2f}",
                    f"{more:.2f}",
                ]
            )
            goals += [
                Goal(f"bytes per row, {kind}", per_row, 100, at_most=True),
                Goal(f"seconds to skip the rows, {kind}", skipped.wall_secs, 60, at_most=True),
                Goal(f"speed relative to a store of few rows, {kind}", few / more, 0.9, "x"),
            ]
    columns = ["", "bytes per row", "skip s", "skip peak MB", "new s, few rows", "new s, many"]
    about = STORE.format(many=many, messages=scale.messages, few=FEW_ROWS)
    return Section("Publish only what has changed: the store", about, columns, rows, goals)


class _Publisher:
    """Publishes ranges of orders to a topic of its own, with one store."""

    def __init__(self, emulator: Emulator, folder: Path, url: str) -> None:
        self._emulator = emulator
        self._folder = folder
        self._topic_id = emulator.create_topic()
        self._url = url

    def __call__(self, first: int, end: int) -> Run:
        source = self._folder / "orders.jsonl"
        with source.open("wb") as file:
            file.writelines(workload.singer_lines(end, first))
        config = target_config(
            self._folder, self._emulator, self._topic_id, published_rows_url=self._url
        )
        line = command("target-workato-streams", "--config", config)
        return measure(self._emulator, line, stdin=source)

    def add(self, before: int, scale: Scale) -> float:
        """Publish new rows several times; return the median of the seconds that this takes."""
        ends = range(before, before + scale.runs * scale.messages, scale.messages)
        runs = [self(first, first + scale.messages) for first in ends]
        published = workload.published(self._emulator, self._topic_id)
        workload.check(self._url, published, before + scale.runs * scale.messages)
        self._emulator.purge(self._topic_id)
        return Run.median(runs).wall_secs


def _bytes(folder: Path, server: Warehouse) -> int:
    """Return the size of the store that is in use."""
    if files := [*folder.glob("rows.db*")]:
        return sum(path.stat().st_size for path in files)
    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute("VACUUM")
    sizes = "SELECT sum(pg_total_relation_size(relid))::bigint FROM pg_stat_user_tables"
    return int(server.query(sizes)[0][0])


def requests(scale: Scale) -> Section:
    """Count the requests if few rows change often."""
    count = scale.messages // 20
    rows = []
    goals = []
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for hot, computed in HOT_ROWS.items():
            source = folder / "hot.jsonl"
            with source.open("wb") as file:
                file.writelines(_lines(hot, count))
            topic_id = emulator.create_topic()
            url = (folder / "rows.db").as_uri()
            config = target_config(
                folder, emulator, topic_id, published_rows_url=url, exactly_once=True
            )
            run = measure(
                emulator, command("target-workato-streams", "--config", config), stdin=source
            )
            workload.check(f"{hot} hot rows", [p["n"] for p in emulator.payloads(topic_id)], count)
            found = count / (run.requests - 1)
            rows.append([f"{hot:,}", f"{run.requests:,.0f}", f"{found:.1f}", f"{computed:g}"])
            goals.append(Goal(f"records per request, {hot:,} rows", found, computed * 0.9))
    columns = ["rows", "requests", "records per request", "expected"]
    return Section("Publish only what has changed: hot rows", REQUESTS, columns, rows, goals)


def _lines(hot: int, count: int) -> Iterator[bytes]:
    chance = random.Random(1)  # noqa: S311 - no secret
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    yield _line(type="STATE", value={})
    yield _line(type="SCHEMA", stream="hot", schema=schema, key_properties=["id"])
    for number in range(count):
        yield _line(type="RECORD", stream="hot", record={"id": chance.randrange(hot), "n": number})
    yield _line(type="STATE", value={"bookmarks": {"hot": count}})


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"
