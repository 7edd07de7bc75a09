"""`make drift`: load a drifting topic with kills and full refreshes, and a topic of changes.

The variable SEED determines the order in which values of other types arrive.
"""

import json
import os
import random
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests.pipelines.changing_payloads import LATER, OTHER_TYPES, check_table, rows, sampled
from tests.pipelines.orchestration import kill_once_counted
from tests.tools.demo.project import Project
from tests.tools.docs import ROOT

pytestmark = pytest.mark.timeout(1200)

PAGE = (ROOT / "docs" / "changing-columns.md").read_text(encoding="utf-8")
SEED = os.environ.get("SEED", "0")


@pytest.fixture
def other_types() -> list[bytes | dict[str, Any]]:
    """Values of other types, in random order."""
    print(f"SEED={SEED}")  # noqa: T201 - pytest shows it if the test fails
    return random.Random(SEED).sample(OTHER_TYPES, len(OTHER_TYPES))  # noqa: S311 - no secret


def with_catalog(load: Callable[..., Any], project: Project, folder: Path) -> Callable[..., Any]:
    """Return `load` with the catalog of now; Meltano caches it, except that of editable plugins."""

    def dump(*_: str, variables: dict[str, str]) -> str:
        command = ("invoke", "--dump=catalog", "tap-workato-streams")
        return project.meltano(*command, variables=variables)

    catalog = folder / "catalog.json"
    catalog.write_text(load(run=dump), encoding="utf-8")
    return partial(load, _catalog=str(catalog))


def test_kills_and_full_refreshes_lose_nothing(
    load, project, emulator, database, other_types, tmp_path
):
    """After six runs with one cached catalog, each value is in its column or in `_rescued`."""
    emulator.load(11, [*(sampled(number) for number in range(110)), *LATER])
    load = with_catalog(load, project, tmp_path)
    load()
    emulator.load(11, other_types)
    load()
    check_table(database, emulator.messages(11))
    waves = ({**sampled(n), f"wave_{n // 1000}": n} for n in range(200, 15_200))
    emulator.load(11, [*waves, *other_types])
    assert kill_once_counted(load(run=project.start), lambda: len(rows(database)))
    # For five minutes, Meltano considers the killed run to be still running.
    load("--force")
    check_table(database, emulator.messages(11))
    load("--force", "--full-refresh")
    check_table(database, emulator.messages(11))
    emulator.load(11, [{"after": "the refresh", "late": 5}, *other_types])
    load("--force")
    check_table(database, emulator.messages(11))


def test_a_topic_of_changes_becomes_a_table_with_the_latest_row_per_key(load, emulator, database):
    maps = {"orders": {"__key_properties__": ["id"], "__filter__": "id is not None"}}
    emulator.load(11, [{"id": n % 7, "total": n} for n in range(100)])
    load(stream_maps=maps)
    emulator.load(11, [{"id": n % 7, "total": n, "note": f"n{n}"} for n in range(100, 150)])
    emulator.load(11, [{"ping": True}, {"id": None}, {"id": "text"}])
    load(stream_maps=maps)
    emulator.load(11, [{"id": 3, "total": -1, "note": "last"}])
    load(stream_maps=maps)
    found = database.query(
        "SELECT id, total, note, _rescued::text FROM event_streams.orders ORDER BY id"
    )
    latest = {n % 7: n for n in range(150)}
    totals = {**latest, 3: -1}
    assert [(key, total) for key, total, *_ in found] == sorted(totals.items())
    # The note became a column in the third run: the second one kept it in `_rescued`.
    assert found[3][2:] == ("last", "null")
    assert json.loads(found[4][3]) == {"/note": f"n{latest[4]}"}


def test_the_first_message_decides_the_type_however_often_it_is_read(
    load, project, emulator, database, tmp_path
):
    """Whole prices, then 9.99 and a name that differs by case: the table has the right values."""
    emulator.load(11, [{"id": 1}] * 5)
    load = with_catalog(load, project, tmp_path)
    load()
    emulator.load(11, [{"id": 2, "price": 10, "note": 5}] * 20)
    load()
    emulator.load(11, [{"id": 3, "price": 9.99, "PRICE": 3, "note": "five"}] * 20)
    # Both prices are in one page, and in other pages than before.
    load("--full-refresh", batch_size=50)
    load()
    found = database.query(
        "SELECT price, note, _rescued::text, count(*) FROM event_streams.orders GROUP BY 1, 2, 3"
    )
    assert {
        (price and float(price), note and float(note), count): json.loads(rescued)
        for price, note, rescued, count in found
    } == {
        (None, None, 5): None,
        (10, 5, 20): None,
        (9.99, None, 20): {"/PRICE": 3, "/note": "five"},
    }


def test_the_page_on_changing_columns_works(load, emulator, database):
    alter, view = blocks("sql")
    declared, deletes = (yaml.safe_load(block)["config"] for block in blocks("yaml"))
    [expression] = quoted(r"`total_cents: ([^`]+)`")
    [deleted] = quoted(r"`deleted: ([^`]+)`")
    emulator.load(11, [{"order_id": "A", "total": 10, "note": "x"}] * 20)
    load()
    emulator.load(11, [{"order_id": "B", "total": 9.99, "note": "y"}] * 20)
    load()
    counts = "SELECT total::text, count(*) FROM event_streams.orders GROUP BY 1 ORDER BY 1"
    assert database.query(counts) == [("10", 20), (None, 20)]
    database.execute(alter)
    assert database.query(counts) == [("10", 20), ("9.99", 20)]
    emulator.load(11, [{"order_id": "C", "total": 1.25, "note": "z", "new": 1}])
    load(**declared)
    assert database.query(
        "SELECT total::text, note, new::text FROM event_streams.orders WHERE order_id = 'C'"
    ) == [("1.25", "z", "1")]

    maps = {**deletes["stream_maps"]["orders"], "total_cents": expression, "email": None}
    [topic] = declared["topics"]
    topic["schema"]["properties"]["deleted"] = yaml.safe_load(deleted)
    kept = {"topics": [{**topic, "name": "changes"}], "stream_maps": {"changes": maps}}
    emulator.load(11, [{"order_id": "D", "email": "hush", "total": "free"}, {"order_id": "E"}])
    emulator.load(11, [{"order_id": "E", "deleted": True, "email": {"x": "hush"}}])
    load("--refresh-catalog", "--full-refresh", **{**declared, **kept})
    database.execute(view.replace("event_streams.orders", "event_streams.changes"))
    found = database.query("SELECT order_id, total_cents FROM event_streams.current_orders")
    cents = {order_id: cents and int(cents) for order_id, cents in found}
    assert cents == {"A": 1000, "B": 999, "C": 125, "D": None}
    everything = database.query("SELECT c::text FROM event_streams.changes c")
    assert "hush" not in str(everything)


@pytest.mark.parametrize(
    ("row", "kind", "value"),
    [
        (0, "text", "'12345678901234567890'"),
        (1, "text", "string_agg(md5(random()::text), '')"),
        (2, "numeric", "12345.67"),
        (3, "bigint", "5"),
    ],
)
def test_as_many_columns_fit_in_a_row_as_documented(database, row, kind, value):
    """The header of a row takes 24 of its 8,160 bytes."""
    table = re.findall(r"\| (\d+) \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert len(table) == 4
    size, documented = (int(number.replace(",", "")) for number in table[row])
    assert documented == (8160 - 24) // size
    for count in (documented, documented + 1):
        columns = ", ".join(f"c{number} {kind}" for number in range(count))
        database.execute(f"DROP TABLE IF EXISTS wide; CREATE TABLE wide ({columns})")
        source = "FROM generate_series(1, 70)" if "agg" in value else ""
        insert = f"INSERT INTO wide SELECT {', '.join([value] * count)} {source}"
        if count == documented:
            database.execute(insert)
        else:
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="row is too big"):
                database.execute(insert)


def test_a_wide_row_is_loaded_with_a_schema_of_the_fields_that_matter(load, emulator, database):
    declared, _ = (yaml.safe_load(block)["config"] for block in blocks("yaml"))
    [evolution] = quoted(r"`schema_evolution: (\w+)`, which keeps the others")
    wide = {f"field_{number}": "x" * 20 for number in range(450)}
    emulator.load(11, [{"order_id": "A", "total": 9.99, **wide}])
    load(topics=declared["topics"], schema_evolution=evolution)
    # The order's id is not declared either.
    assert database.query(
        "SELECT total::text, (SELECT count(*) FROM jsonb_object_keys(_rescued)) "
        "FROM event_streams.orders"
    ) == [("9.99", 450 + 1)]


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def quoted(pattern: str) -> list[str]:
    """Return what a group of a pattern matches on the page, whose lines are joined."""
    return re.findall(pattern, re.sub(r"\s+", " ", PAGE))
