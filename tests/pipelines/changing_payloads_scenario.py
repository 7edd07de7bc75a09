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

from tests.pipelines.changing_payloads import (
    FAMILIES,
    LATER,
    OTHER_TYPES,
    check_table,
    rows,
    sampled,
)
from tests.pipelines.orchestration import kill_once_counted
from tests.tools.demo import orders
from tests.tools.demo.project import Project
from tests.tools.docs import ROOT

pytestmark = pytest.mark.timeout(1200)

PAGE = (ROOT / "docs" / "changing-columns.md").read_text(encoding="utf-8")
TABLE = (ROOT / "docs" / "topic-as-a-table.md").read_text(encoding="utf-8")
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


def test_a_key_of_mixed_types_that_is_declared_as_string_loads_every_message(
    load, emulator, database
):
    """Messages with 0 to 9, "A-17" and "3" are eleven rows."""
    keyed = settings_on(TABLE)[-1]
    emulator.load(11, [{"order_id": key} for key in (*range(10), "A-17", "3")])
    schema = {"properties": {"order_id": {"type": "string"}}}
    keyed["topics"]["orders"]["schema"] = schema
    load(**keyed)
    found = database.query("SELECT order_id FROM event_streams.orders")
    assert {key for (key,) in found} == {*map(str, range(10)), "A-17"}
    assert len(found) == 11


def test_five_topics_over_weeks_lose_nothing(load, project, emulator, database, tmp_path):
    """With a killed run, a full refresh, and columns that wait for the next run."""
    topics = {family: 21 + number for number, family in enumerate(FAMILIES)}
    for family, topic in topics.items():
        emulator.create_topic(family.__name__, id=topic)
    named = [{"id": topic, "name": family.__name__} for family, topic in topics.items()]
    counts: dict[str, tuple[int, int]] = {}
    for week in range(5):
        size = 1500 if week == 2 else 120
        for family, topic in topics.items():
            emulator.load(topic, [family(week, n) for n in range(week * 2000, week * 2000 + size)])
        if week == 0:
            load = with_catalog(partial(load, topics=named, batch_size=50), project, tmp_path)
        mode = "add_columns" if week < 3 else "add_columns_next_run"
        if week == 2:
            killed = load(run=project.start, schema_evolution=mode)
            assert kill_once_counted(killed, lambda: len(rows(database, "contact")))
        options = ["--force", "--full-refresh"] if week == 3 else ["--force"]
        load(*options, schema_evolution=mode)
        for family, topic in topics.items():
            name = family.__name__
            counts[name] = check_table(database, emulator.messages(topic), name)
    values, rescued = (sum(each) for each in zip(*counts.values(), strict=True))
    print(f"{rescued:,} of {values:,} values are rescued: {counts}")  # noqa: T201 - `pytest -s`
    assert rescued < values * 0.15


def test_the_page_on_tables_works(load, emulator, database):
    """A nested topic becomes a table; values that were rescued move to their new column."""
    settings, *_ = settings_on(TABLE)
    [select] = re.findall(r"^postgres=# (SELECT .*;)$", TABLE, re.MULTILINE)
    statements = blocks("sql", TABLE)[0].replace("orders", "event_streams.orders").split(";")
    fields, totals, update, _ = statements
    lines = orders.FILE.read_bytes().splitlines()[:2]
    first, *_ = emulator.load(11, [{"order_id": "ORD-999999"}, *lines])
    load(record_format="nested")
    load(**settings)
    assert database.query(select)[0][0] is None
    emulator.expire(11, first)
    load("--full-refresh", **settings)
    [found] = database.query(select)
    assert f" {found[0]} |  {found[1]} | {json.dumps(found[2], ensure_ascii=False)}" in TABLE
    nested = "SELECT payload ->> 'order_id' FROM event_streams.orders WHERE order_id IS NULL"
    assert database.query(nested) == [("ORD-999999",)]

    settings["schema_evolution"] = "add_columns_next_run"
    emulator.load(11, [{"order_id": "A", "total": "free", "color": each} for each in ("x", 5)])
    emulator.load(11, [{"order_id": "B", "new": None}])
    load(**settings)
    assert sorted(database.query(fields)) == [("/color", 2), ("/total", 2)]
    assert ("free",) in [row[1:] for row in database.query(totals)]
    load(**settings)
    database.execute(update.replace("note", "color"))
    moved = "SELECT color FROM event_streams.orders WHERE order_id = 'A' ORDER BY 1"
    assert database.query(moved) == [("5",), ("x",)]
    assert database.query(fields) == [("/total", 2)]


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
    declared, [deletes] = declaration(), settings_on(PAGE)
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
    topic = {**declared["topics"]["orders"], **deletes["topics"]["orders"]}
    topic["schema"]["properties"]["deleted"] = yaml.safe_load(deleted)
    kept = {"topics": {"changes": topic}, "stream_maps": {"changes": maps}}
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
    declared = declaration()
    [evolution] = quoted(r"`schema_evolution: (\w+)`, which keeps the others")
    wide = {f"field_{number}": "x" * 20 for number in range(450)}
    emulator.load(11, [{"order_id": "A", "total": 9.99, **wide}])
    load(topics=declared["topics"], schema_evolution=evolution)
    # The order's id is not declared either.
    assert database.query(
        "SELECT total::text, (SELECT count(*) FROM jsonb_object_keys(_rescued)) "
        "FROM event_streams.orders"
    ) == [("9.99", 450 + 1)]


def blocks(language: str, page: str = PAGE) -> list[str]:
    """Return the code blocks of a page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def settings_on(page: str) -> list[dict[str, Any]]:
    """Return the settings of the tap in each YAML block of a page."""
    contents = [yaml.safe_load(block) for block in blocks("yaml", page)]
    return [content["plugins"]["extractors"][0]["config"] for content in contents]


def declaration() -> dict[str, Any]:
    """Return the settings that declare the type of one field."""
    _, declared, _ = settings_on(TABLE)
    return declared


def quoted(pattern: str) -> list[str]:
    """Return what a group of a pattern matches on the page, whose lines are joined."""
    return re.findall(pattern, re.sub(r"\s+", " ", PAGE))
