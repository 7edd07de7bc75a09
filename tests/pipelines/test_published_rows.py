"""A target that remembers publishes only the changes of real taps, whatever is interrupted."""

import itertools
import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.pipelines.conftest import new_database
from tests.pipelines.orchestration import connection, definition, lay_out
from tests.support.injection import injected, killed
from tests.tools.demo.project import MELTANO, MeltanoFailedError, Project
from tests.tools.demo.warehouse import Warehouse

pytestmark = pytest.mark.timeout(600)

ROWS, BATCH = 100, 10
TAP_POSTGRES: dict[str, Any] = {
    "name": "tap-postgres",
    "namespace": "tap_postgres",
    "pip_url": "meltanolabs-tap-postgres==0.10.0",
    "executable": "tap-postgres",
    "capabilities": ["catalog", "discover", "state"],
    "settings": [{"name": "sqlalchemy_url"}, {"name": "filter_schemas", "kind": "array"}],
    "config": {"sqlalchemy_url": "$WAREHOUSE_URL", "filter_schemas": ["shop"]},
    "select": ["shop-*.*"],
    "metadata": {
        "shop-orders": {"replication-method": "INCREMENTAL", "replication-key": "changed"},
        "shop-stock": {"replication-method": "FULL_TABLE"},
    },
}
TABLES = """
CREATE SCHEMA shop;
CREATE SEQUENCE shop.changes;
CREATE TABLE shop.orders (id int PRIMARY KEY, v text, changed bigint);
CREATE TABLE shop.stock (id int PRIMARY KEY, v text);
"""
UPDATE = """
INSERT INTO shop.orders SELECT n, '{value}', nextval('shop.changes') FROM generate_series({rows}) n
    ON CONFLICT (id) DO UPDATE SET v = excluded.v, changed = excluded.changed;
INSERT INTO shop.stock SELECT n, '{value}' FROM generate_series({rows}) n
    ON CONFLICT (id) DO UPDATE SET v = excluded.v;
"""
# The topic that is copied, and the topics of each loader, which run at the same time.
SOURCE = 11
TOPICS = {
    "target-plain": {"shop-orders": 21, "shop-stock": 22, "lines": 23, "orders": 24},
    "target-exact": {"shop-orders": 31, "shop-stock": 32, "lines": 33, "orders": 34},
}
STREAMS = {
    "tap-postgres": ("shop-orders", "shop-stock"),
    "tap-jsonl": ("lines",),
    "tap-workato-streams": ("orders",),
}


class Shop:
    """A Meltano project, and the rows that all of its sources contain."""

    def __init__(self, root: Path, emulator: Emulator, database: Warehouse) -> None:
        self.rows: dict[int, str] = {}
        self.changes: list[tuple[int, str]] = []  # the messages of the topic that is copied
        self.kills: Counter[str] = Counter()  # of runs that read from a tap
        self.emulator = emulator
        self._root, self._database = root, database
        self._file, self._states = root / "lines.jsonl", root / ".meltano" / "meltano.db"
        self._backups = 0
        self._project = Project(root, {**connection(emulator), "WAREHOUSE_URL": database.url})

    def install(self) -> None:
        """Write the project, and install its taps from PyPI."""
        content = definition()
        extractors, loaders = content["plugins"]["extractors"], content["plugins"]["loaders"]
        [copied, jsonl] = extractors
        copied["config"] |= {"batch_size": 10}  # a state for each page
        fields = ("_sdc_filename", "_sdc_stream", "_sdc_last_modified")
        jsonl["config"] = {
            "path": str(self._file),
            "stream_name": "lines",
            "primary_keys": ["id"],
            "stream_maps": {"lines": dict.fromkeys(fields, "__NULL__")},
        }
        extractors.append(TAP_POSTGRES)
        extractors += [
            {"name": f"{tap}-target-exact", "inherit_from": tap, "config": each.get("config", {})}
            for tap, each in zip(STREAMS, (TAP_POSTGRES, jsonl, copied), strict=True)
        ]
        # Meltano removes PYTHONPATH from the environment of a plugin.
        target, ours = self._root / "target.sh", MELTANO.parent / "target-workato-streams"
        target.write_text(f'#!/bin/sh\nPYTHONPATH={self._root}/site exec {ours} "$@"\n')
        target.chmod(0o755)
        loaders[0]["executable"] = str(target)
        stores = (f"file://{self._root}/published-rows.db", self._database.uri)
        for (name, topics), store in zip(TOPICS.items(), stores, strict=True):
            config = {
                "topics": topics,
                "published_rows_url": store,
                "exactly_once": name == "target-exact",
                "batch_size_rows": BATCH,
            }
            loader = {"name": name, "inherit_from": "target-workato-streams", "config": config}
            loaders.append(loader)
        lay_out(self._root, content)
        self._project.meltano("install", "extractor", "tap-postgres", "tap-jsonl")
        self.no_states = self.back_up()

    def create(self) -> None:
        """Create the sources and the topics."""
        self._database.execute(TABLES)
        for name, topic in itertools.chain(*(each.items() for each in TOPICS.values())):
            self.emulator.create_topic(name, id=topic)
        self.emulator.create_topic("orders", id=SOURCE)
        self.update(range(ROWS), "a")

    def update(self, rows: range, value: str) -> None:
        """Change rows of the tables and the file, and add them to the topic that is copied."""
        between = f"{rows.start}, {rows.stop - 1}"
        self._database.execute(UPDATE.format(value=value, rows=between))
        self.rows |= dict.fromkeys(rows, value)
        lines = [json.dumps({"id": n, "v": v}) for n, v in self.rows.items()]
        self._file.write_text("\n".join(lines))
        self.changes += [(n, value) for n in rows]
        self.emulator.load(SOURCE, [{"id": n, "v": value} for n in rows])

    def run(self, *taps: str, options: tuple[str, ...] = (), kill_at: str | None = None) -> None:
        """Run pipelines from taps into both loaders; a kill ends a run."""
        site = self._root / "site"
        if kill_at:
            injected(site, killed(kill_at))

        def run_it(loader: str) -> str:
            plugins = itertools.chain(*((instance(tap, loader), loader) for tap in taps))
            if kill_at is None:
                return self._project.meltano("run", *options, *plugins)
            with pytest.raises(MeltanoFailedError):
                self._project.meltano("run", *plugins)
            return ""

        self._for_both(run_it)
        shutil.rmtree(site, ignore_errors=True)
        self.emulator.wait_until_idle()
        self.kills.update(taps if kill_at else ())

    def back_up(self) -> Path:
        """Copy all states."""
        self._backups += 1
        backup = self._root / f"states-{self._backups}.db"
        copy_database(self._states, backup)
        return backup

    def restore(self, backup: Path) -> None:
        """Replace all states."""
        copy_database(backup, self._states)

    @staticmethod
    def _for_both(work: Callable[[str], str]) -> list[str]:
        """Do something for both loaders at the same time."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(work, TOPICS))

    def check(self) -> None:
        """Check the last message of each row, and how many repeat the one before.

        Without `exactly_once`, the request that was on its way at a kill is published twice.
        """
        for loader, topics in TOPICS.items():
            for tap, streams in STREAMS.items():
                for stream in streams:
                    repeated = self._repeated(stream, topics[stream])
                    kills = self.kills[tap] if loader == "target-plain" else 0
                    assert repeated <= kills * BATCH, (loader, stream)

    def _repeated(self, stream: str, topic: int) -> int:
        last: dict[Any, dict[str, Any]] = {}
        repeated = 0
        for message in self.emulator.payloads(topic):
            message.pop("message_key", None)
            row = message["message_id"] if stream == "orders" else message["id"]
            repeated += last.get(row) == message
            last[row] = message
        if stream == "orders":
            copied = [(each["payload"]["id"], each["payload"]["v"]) for each in last.values()]
            assert copied == self.changes
        else:
            assert {row: each["v"] for row, each in last.items()} == self.rows, (stream, topic)
        return repeated


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database whose latest changes may be in its write-ahead log."""
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)


def instance(tap: str, loader: str) -> str:
    """The plugin that a loader uses: one instance runs at a time."""
    return f"{tap}-{loader}" if loader == "target-exact" else tap


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The project after its first night; its tests leave everything published."""
    root = tmp_path_factory.mktemp("shop")
    with new_database() as database, Emulator.start() as emulator:
        shop = Shop(root, emulator, database)
        shop.install()
        shop.create()
        shop.run(*STREAMS)
        yield shop
    shutil.rmtree(root / ".meltano")


def test_five_nights_publish_what_has_changed(shop):
    """Whether a tap emits the row of the bookmark again, all rows, or only new ones.

    Three nights are enough for the taps without a bookmark in a table.
    """
    for night in range(5):
        if night:
            shop.update(range(night, night + 1), f"night {night}")
            shop.run(*(STREAMS if night < 3 else ["tap-postgres"]))
        for topics in TOPICS.values():
            counts = {name: len(shop.emulator.messages(topic)) for name, topic in topics.items()}
            tables = dict.fromkeys(("shop-orders", "shop-stock"), ROWS + night)
            assert counts == {**dict.fromkeys(("lines", "orders"), ROWS + min(night, 2)), **tables}


def test_kills_and_states_lose_nothing(shop):
    """With `exactly_once`, nothing is duplicated either.

    The state that a killed run has left is merged, ignored, replaced by an older one or cleared.
    """
    older = shop.back_up()

    def kill(tap: str, moment: str) -> None:
        """Kill a run; half of the rows that it would have published are as before then."""
        shop.update(range(30, 60), moment)
        shop.run(tap, kill_at=moment)
        shop.update(range(30, 45), "a")

    kill("tap-workato-streams", "before the first transaction")
    shop.run("tap-workato-streams", options=("--state-strategy=merge",))
    kill("tap-postgres", "before the request")
    shop.run("tap-postgres", options=("--full-refresh",))
    kill("tap-postgres", "after the response")
    shop.restore(older)
    shop.run("tap-postgres", options=("--state-strategy=merge",))
    kill("tap-jsonl", "after the second transaction")
    shop.restore(shop.no_states)
    shop.run(*STREAMS)
    shop.check()
