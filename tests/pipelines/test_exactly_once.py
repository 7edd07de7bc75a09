"""Exactly once through `meltano run`: killed at random moments, with the state in its database.

`make chaos-exactly-once` runs the same with other taps and more rows, in
`exactly_once_scenario.py`.
"""

import json
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import definition, kill_once_counted, lay_out
from tests.tools.demo.project import Project
from tests.tools.demo.warehouse import Warehouse
from tests.tools.matrix import plugins
from tests.tools.matrix.plugins import Plugin

ROWS = 1500
COPY = 12
BATCH = 100
# The row that changes.
ROW = 7
LARGE = 12_000
FULL_TABLE = {"replication-method": "FULL_TABLE"}
TABLE = """
CREATE TABLE IF NOT EXISTS {table} (id integer PRIMARY KEY, updated_at timestamp, note text);
INSERT INTO {table} SELECT n, '2026-11-24'::timestamp + n * interval '1 second', 'x'
FROM generate_series({first}, {last}) n ON CONFLICT DO NOTHING
"""
CHANGE = "UPDATE {table} SET note = '{note}' WHERE id = {row}"
# The settings of tap-jsonl.
FILE = {"stream_name": "orders", "primary_keys": ["id"]}
SETTINGS = {
    "TAP_WORKATO_STREAMS_STATE_INTERVAL_SECS": "0.1",
    "TARGET_WORKATO_STREAMS_TOPICS": json.dumps({"*": COPY, "orders": COPY}),
    "TARGET_WORKATO_STREAMS_EXACTLY_ONCE": "true",
    "TARGET_WORKATO_STREAMS_MESSAGE_KEY_FIELD": "message_key",
    "TARGET_WORKATO_STREAMS_BATCH_SIZE_ROWS": "20",
    "TARGET_WORKATO_STREAMS_MAX_BATCH_AGE_SECS": "0.5",
}


def add_tap(folder: Path, tap: Plugin, config: dict[str, Any], **more: Any) -> None:  # noqa: ANN401 - any YAML
    """Install a tap, and add it to the project."""
    plugins.install(tap)
    content = definition()
    content["plugins"]["extractors"].append(
        {
            "name": "tap",
            "namespace": "tap",
            "executable": str(tap.path),
            "capabilities": ["catalog", "discover", "state"],
            "settings": [{"name": name} for name in config],
            "config": config,
            **more,
        }
    )
    lay_out(folder, content)


def add_tables(
    folder: Path,
    database: Warehouse,
    metadata: dict[str, dict[str, str]],
    tap: Plugin = plugins.MELTANOLABS_TAP_POSTGRES,
    config: Mapping[str, Any] = MappingProxyType({"filter_schemas": ["public"]}),
    catalog: str = "catalog",
) -> None:
    """Add a tap that reads tables, with the metadata of each."""
    server = {"host": "127.0.0.1", "port": database.port, "user": "postgres", "password": "x"}
    add_tap(
        folder,
        tap,
        {**server, "database": "postgres", **config},
        capabilities=[catalog, "discover", "state"],
        select=[f"public-{table}.*" for table in metadata],
        metadata={f"public-{table}": each for table, each in metadata.items()},
    )


class Nights:
    """A pipeline of `tap` that runs every night; its streams go to one topic."""

    def __init__(self, project: Project, emulator: Emulator) -> None:
        self._project, self._emulator = project, emulator
        self._seconds = 0
        emulator.create_topic("copy", id=COPY)

    def run(self, **changed: str) -> tuple[int, int]:
        """Run it; return the number of messages that were published, and of look-up requests."""
        # The last run was more than 10 s ago, so that the target does not wait for late messages.
        self._seconds += 60
        self._emulator.configure(clock_offset_secs=self._seconds)
        known = len(self._emulator.messages(COPY))
        self._emulator.clear_requests()
        self._start(self._project.meltano, changed)
        look_ups = len(self._emulator.requests(operation="consume"))
        return len(self._emulator.messages(COPY)) - known, look_ups

    def kill(self, more: int) -> None:
        """Run it, and kill it after it has published so many messages."""
        # The next requests are slow, so that the run does not end before.
        self._emulator.fault("latency", secs=0.2, operation="batch", times=-1, after=more // BATCH)
        run = self._start(self._project.start, {})
        count = lambda: len(self._emulator.messages(COPY))  # noqa: E731
        assert kill_once_counted(run, count, more=more)
        self._emulator.wait_until_idle()
        self._emulator.clear_faults()

    def versions(self) -> dict[int, list[str]]:
        """Return the notes of each row, in topic order."""
        found = defaultdict(list)
        for payload in self._emulator.payloads(COPY):
            found[payload["id"]].append(payload["note"])
        return found

    def _start(self, meltano: Callable[..., Any], changed: dict[str, str]) -> Any:  # noqa: ANN401 - as in `copy`
        variables = {**SETTINGS, "TARGET_WORKATO_STREAMS_BATCH_SIZE_ROWS": str(BATCH), **changed}
        return meltano("run", "--force", "tap", "target-workato-streams", variables=variables)


def copy_file(
    project: Project, emulator: Emulator, folder: Path, *, rows: int, killed_at: int
) -> None:
    """Copy a file, and then another version of all its rows, with a kill."""
    path = folder / "rows.jsonl"
    add_tap(folder, plugins.TAP_JSONL, {"path": str(path), **FILE})
    nights = Nights(project, emulator)

    def fill(rows: int, note: str) -> None:
        lines = [json.dumps({"id": number, "note": note}) for number in range(rows)]
        path.write_text("\n".join(lines), encoding="utf-8")

    fill(100, "x")
    nights.run()
    fill(rows, "y")
    nights.kill(killed_at)
    nights.run()
    assert Counter(map("".join, nights.versions().values())) == {"xy": 100, "y": rows - 100}


def copy_full_table(
    project: Project, emulator: Emulator, folder: Path, database: Warehouse, *, notes: str
) -> Iterator[tuple[int, int]]:
    """Copy a table each night, in which the note of a row changes; yield what `Nights.run` does.

    It is so large that the SDK does not write a STATE at its end, because it would equal the last.
    """
    add_tables(folder, database, {"orders": FULL_TABLE})
    database.execute(TABLE.format(table="orders", first=1, last=LARGE))
    nights = Nights(project, emulator)
    for note in notes:
        database.execute(CHANGE.format(table="orders", note=note, row=ROW))
        yield nights.run()
        assert nights.versions()[ROW][-1] == note


def copy(
    project: Project,
    emulator: Emulator,
    tap: str,
    fill: Callable[[int], object],
    *,
    kills: int,
    seed: str,
) -> list[dict[str, Any]]:
    """Run a pipeline, kill it several times, and run it to its end; return the payloads.

    The first run, which is at least once until the tap's first STATE, is not killed. Then `fill`
    gives the source as many rows again.
    """
    emulator.create_topic("copy", id=COPY)
    chance = random.Random(seed)  # noqa: S311 - no secret

    def run(meltano: Callable[..., Any]) -> Any:  # noqa: ANN401 - the output, or a process
        command = ("run", "--force", tap, "target-workato-streams")
        return meltano(*command, variables=SETTINGS)

    fill(ROWS // 2)
    run(project.meltano)
    fill(ROWS)
    # The rows take 7.5 s, so that no run ends before it is killed.
    emulator.fault("latency", secs=0.1, operation="batch", times=-1)
    for _ in range(kills):
        assert kill_once_counted(
            run(project.start),
            lambda: len(emulator.messages(COPY)),
            after_secs=chance.uniform(0, 1),
        )
        # What a killed process has sent is applied by then.
        emulator.wait_until_idle()
    emulator.clear_faults()
    run(project.meltano)
    return emulator.payloads(COPY)


@pytest.mark.timeout(600)
def test_a_topic_is_copied_exactly_once(project, emulator):
    topic = emulator.create_topic("orders", id=11)

    def fill(rows: int) -> None:
        known = len(emulator.messages(topic))
        emulator.load(topic, [{"n": number} for number in range(known, rows)])

    payloads = copy(project, emulator, "tap-workato-streams", fill, kills=2, seed="1")
    assert [payload["payload"]["n"] for payload in payloads] == list(range(ROWS))


@pytest.mark.timeout(600)
def test_a_row_of_a_full_table_may_go_back_to_its_old_version(
    project, emulator, tmp_path, database
):
    nights = copy_full_table(project, emulator, tmp_path, database, notes="aba")
    # The first run has ended with a RECORD, so the second one publishes only what has changed.
    assert [published for published, _ in nights] == [LARGE, 1, LARGE]


@pytest.mark.timeout(600)
def test_a_file_is_copied_exactly_once(project, emulator, tmp_path):
    """The second run is killed after a STATE that the tap cannot resume."""
    copy_file(project, emulator, tmp_path, rows=11_000, killed_at=10_300)
