"""`make chaos-exactly-once`: `meltano run` with other taps, kills and changing rows.

The variable SEED determines the random moments of kills.
"""

import json
import os
from collections import Counter
from typing import Any

import pytest

from tests.pipelines.test_exactly_once import (
    CHANGE,
    COPY,
    FILE,
    FULL_TABLE,
    LARGE,
    ROWS,
    TABLE,
    Nights,
    add_tables,
    add_tap,
    copy,
    copy_file,
    copy_full_table,
)
from tests.support.exactly_once import OURS
from tests.tools.demo.project import Project
from tests.tools.matrix import plugins

pytestmark = pytest.mark.timeout(1200)

SEED = os.environ.get("SEED", "0")
STATE_ID = "dev:tap-to-target-workato-streams"
TOUCH = "UPDATE c SET updated_at = now() WHERE id = {row}"
ROWS_OF = "SELECT id, note FROM {table}"
INCREMENTAL = {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}
TAPS_FOR_TABLES = pytest.mark.parametrize(
    ("tap", "config", "catalog"),
    [
        (plugins.MELTANOLABS_TAP_POSTGRES, {"filter_schemas": ["public"]}, "catalog"),
        (plugins.PIPELINEWISE_TAP_POSTGRES, {"dbname": "postgres"}, "properties"),
    ],
    ids=["meltanolabs", "pipelinewise"],
)


def check(payloads: list[dict[str, Any]], *, again: int) -> None:
    """Check that no row is lost, and that at most as many as the tap repeats are there twice."""
    counts = Counter(payload["message_key"] for payload in payloads)
    assert len(counts) == ROWS
    assert sum(count > 1 for count in counts.values()) <= again


def test_a_file_is_copied_exactly_once(project, emulator, tmp_path):
    path = tmp_path / "rows.jsonl"
    add_tap(tmp_path, plugins.TAP_JSONL, {"path": str(path), **FILE})

    def fill(rows: int) -> None:
        lines = [json.dumps({"id": number, "note": "x"}) for number in range(rows)]
        path.write_text("\n".join(lines), encoding="utf-8")

    check(copy(project, emulator, "tap", fill, kills=4, seed=SEED), again=ROWS // 2)


@TAPS_FOR_TABLES
def test_a_table_is_copied_exactly_once(
    project, emulator, tmp_path, database, tap, config, catalog
):
    """The tap repeats the rows of its bookmarks, the last ones of the two contents of the table."""
    add_tables(tmp_path, database, {"orders": INCREMENTAL}, tap, config, catalog)

    def fill(rows: int) -> None:
        database.execute(TABLE.format(table="orders", first=1, last=rows))

    check(copy(project, emulator, "tap", fill, kills=4, seed=SEED), again=2)


def test_a_large_file_is_copied_exactly_once(project, emulator, tmp_path):
    """The second run is killed after two states that the tap cannot resume."""
    copy_file(project, emulator, tmp_path, rows=35_000, killed_at=25_000)


def test_a_full_table_is_published_once_per_night(project, emulator, tmp_path, database):
    nights = list(copy_full_table(project, emulator, tmp_path, database, notes="abacac"))
    assert [published for published, _ in nights] == [LARGE, 1, *[LARGE] * 4]
    assert max(look_ups for _, look_ups in nights[3:]) <= 20


def test_tables_in_sequence_survive_kills(project, emulator, tmp_path, database):
    """The last table has no news: its tap emits the row of the bookmark after the last STATE."""
    first = {"a": 1, "b": 10_001, "c": 20_001, "d": 30_001}
    sizes = {"a": 2000, "b": 500, "c": 300, "d": 3}
    add_tables(
        tmp_path, database, {"a": FULL_TABLE, "b": FULL_TABLE, "c": INCREMENTAL, "d": INCREMENTAL}
    )
    for table, start in first.items():
        last = start + sizes[table] - 1
        database.execute(TABLE.format(table=table, first=start, last=last))
    nights = Nights(project, emulator)
    look_ups = 0
    for number, note in enumerate("abacacac"):
        for table in "abc":
            database.execute(CHANGE.format(table=table, note=note, row=first[table]))
        database.execute(TOUCH.format(row=first["c"]))
        if number in {3, 5}:
            # In the second table.
            nights.kill(sizes["a"] + 100)
        _, look_ups = nights.run()
        versions = nights.versions()
        for table in first:
            for row, content in database.query(ROWS_OF.format(table=table)):
                assert versions[row][-1] == content, (number, row, versions[row])
    assert look_ups <= 20
    # The last rows of a table do not change. What was complete when a run was killed comes again.
    counts = {table: len(versions[first[table] + sizes[table] - 2]) for table in first}
    assert counts == {"a": 10, "b": 8, "c": 1, "d": 1}


@TAPS_FOR_TABLES
def test_what_a_state_contains_for_exactly_once_does_not_disturb(
    project, emulator, tmp_path, database, tap, config, catalog
):
    """Neither the tap nor a run without `exactly_once`, which removes the positions."""
    add_tables(tmp_path, database, {"a": FULL_TABLE, "b": INCREMENTAL}, tap, config, catalog)
    for table in "ab":
        database.execute(TABLE.format(table=table, first=1, last=20))
    nights = Nights(project, emulator)
    nights.run()
    stored = state(project)
    bookmarks = stored["singer_state"]["bookmarks"]
    key = json.loads(emulator.messages(COPY)[-1].payload)["message_key"]
    bookmarks[OURS][str(COPY)]["uncovered"] = [key]
    bookmarks["public-a"]["starting_replication_value"] = None
    project.meltano("state", "set", "--force", STATE_ID, json.dumps(stored))
    assert nights.run()[0] == 20
    project.meltano("state", "set", "--force", STATE_ID, json.dumps(stored))
    assert nights.run(TARGET_WORKATO_STREAMS_EXACTLY_ONCE="false")[0] == 21
    assert OURS not in state(project)["singer_state"]["bookmarks"]


def state(project: Project) -> dict[str, Any]:
    """Return the stored state of the pipeline."""
    stored: dict[str, Any] = json.loads(project.meltano("state", "get", STATE_ID))
    return stored
