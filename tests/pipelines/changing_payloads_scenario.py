"""`make drift`: load a drifting topic with kills and full refreshes, and a topic of changes.

The variable SEED determines the order in which values of other types arrive.
"""

from __future__ import annotations

import json
import os
import random
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
import yaml

from tests.pipelines.changing_payloads import (
    LATER,
    OTHER_TYPES,
    PIPELINE,
    UNPACKED,
    check_table,
    in_chunks,
    kill_in_the_middle,
    sampled,
)
from tests.pipelines.test_changing_payloads import database
from tests.tools.docs import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from tests.tools.demo.project import Project

pytestmark = pytest.mark.timeout(1200)

__all__ = ["database"]
PAGE = ROOT / "docs" / "changing-columns.md"
SEED = os.environ.get("SEED", "0")


@pytest.fixture
def other_types() -> list[bytes | dict[str, Any]]:
    """Values of other types, in random order."""
    print(f"SEED={SEED}")  # noqa: T201 - pytest shows it if the test fails
    return random.Random(SEED).sample(OTHER_TYPES, len(OTHER_TYPES))  # noqa: S311 - no secret


def test_kills_and_full_refreshes_lose_nothing(project, emulator, database, other_types, tmp_path):
    """After six runs with one cached catalog, each value is in its column or in `_rescued`."""
    emulator.create_topic("orders", id=11)
    variables = {**UNPACKED, "WAREHOUSE_URL": database.url}

    emulator.load(11, [*(sampled(number) for number in range(110)), *LATER])
    variables |= cached_catalog(project, variables, tmp_path)
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, other_types)
    project.meltano(*PIPELINE, variables=variables)
    check_table(database, emulator.messages(11))

    before = len(emulator.messages(11))
    emulator.load(11, [*in_chunks(15_000, start=200), *other_types])
    kill_in_the_middle(project, database, variables, before)
    # For five minutes, Meltano considers the killed run to be still running.
    run, *plugins = PIPELINE
    project.meltano(run, "--force", *plugins, variables=variables)
    check_table(database, emulator.messages(11))

    project.meltano(run, "--force", "--full-refresh", *plugins, variables=variables)
    check_table(database, emulator.messages(11))
    emulator.load(11, [{"after": "the refresh", "late": 5}, *other_types])
    project.meltano(run, "--force", *plugins, variables=variables)
    check_table(database, emulator.messages(11))


def test_a_topic_of_changes_becomes_a_table_with_the_latest_row_per_key(
    project, emulator, database
):
    """The recipe in the documentation works; messages without the key are filtered out."""
    emulator.create_topic("orders", id=11)
    maps = {"orders": {"__key_properties__": ["id"], "__filter__": "id is not None"}}
    variables = {
        **UNPACKED,
        "WAREHOUSE_URL": database.url,
        "TAP_WORKATO_STREAMS_STREAM_MAPS": json.dumps(maps),
    }

    emulator.load(11, [{"id": n % 7, "total": n} for n in range(100)])
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, [{"id": n % 7, "total": n, "note": f"n{n}"} for n in range(100, 150)])
    emulator.load(11, [{"ping": True}, {"id": None}, {"id": "text"}])
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, [{"id": 3, "total": -1, "note": "last"}])
    project.meltano(*PIPELINE, variables=variables)

    rows = database.query(
        "SELECT id, total, note, _rescued::text FROM event_streams.orders ORDER BY id"
    )
    latest = {n % 7: n for n in range(150)}
    assert [(key, total) for key, total, *_ in rows] == [
        (key, -1 if key == 3 else latest[key]) for key in range(7)
    ]
    # The note became a column in the third run: the second one kept it in `_rescued`.
    assert rows[3][2:] == ("last", "null")
    assert json.loads(rows[4][3]) == {"/note": f"n{latest[4]}"}


def test_the_first_message_decides_the_type_however_often_it_is_read(
    project, emulator, database, tmp_path
):
    """Whole prices, then 9.99 and a name that differs by case: the table has the right values."""
    emulator.create_topic("orders", id=11)
    variables = {**UNPACKED, "WAREHOUSE_URL": database.url}
    run, *plugins = PIPELINE

    emulator.load(11, [{"id": 1}] * 5)
    variables |= cached_catalog(project, variables, tmp_path)
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, [{"id": 2, "price": 10, "note": 5}] * 20)
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, [{"id": 3, "price": 9.99, "PRICE": 3, "note": "five"}] * 20)
    # Both prices are in one page, and in other pages than before.
    again = {**variables, "TAP_WORKATO_STREAMS_BATCH_SIZE": "50"}
    project.meltano(run, "--full-refresh", *plugins, variables=again)
    project.meltano(*PIPELINE, variables=variables)

    found = database.query(
        "SELECT price, note, _rescued::text, count(*) FROM event_streams.orders GROUP BY 1, 2, 3"
    )
    rows = {
        (price and float(price), note and float(note), count): json.loads(rescued)
        for price, note, rescued, count in found
    }
    assert rows == {
        (None, None, 5): None,
        (10, 5, 20): None,
        (9.99, None, 20): {"/PRICE": 3, "/note": "five"},
    }


def test_the_page_on_changing_columns_works(project, emulator, database):
    """A column gets another type; rows are marked as deleted; addresses are kept out."""
    emulator.create_topic("orders", id=11)
    variables = {**UNPACKED, "WAREHOUSE_URL": database.url}
    alter, view = blocks("sql")
    declared, deletes = (yaml.safe_load(block)["config"] for block in blocks("yaml"))
    [expression] = quoted(r"`total_cents: ([^`]+)`")
    [deleted] = quoted(r"`deleted: ([^`]+)`")

    emulator.load(11, [{"order_id": "A", "total": 10, "note": "x"}] * 20)
    project.meltano(*PIPELINE, variables=variables)
    emulator.load(11, [{"order_id": "B", "total": 9.99, "note": "y"}] * 20)
    project.meltano(*PIPELINE, variables=variables)
    counts = "SELECT total::text, count(*) FROM event_streams.orders GROUP BY 1 ORDER BY 1"
    assert database.query(counts) == [("10", 20), (None, 20)]

    database.execute(alter)
    assert database.query(counts) == [("10", 20), ("9.99", 20)]
    [topic] = declared["topics"]
    changed = {
        **variables,
        "TAP_WORKATO_STREAMS_SCHEMA_EVOLUTION": declared["schema_evolution"],
        "TAP_WORKATO_STREAMS_TOPICS": json.dumps([topic]),
    }
    emulator.load(11, [{"order_id": "C", "total": 1.25, "note": "z", "new": 1}])
    project.meltano(*PIPELINE, variables=changed)
    assert database.query(
        "SELECT total::text, note, new::text FROM event_streams.orders WHERE order_id = 'C'"
    ) == [("1.25", "z", "1")]

    maps = {**deletes["stream_maps"]["orders"], "total_cents": expression, "email": None}
    topic["schema"]["properties"]["deleted"] = yaml.safe_load(deleted)
    kept = {
        **changed,
        "TAP_WORKATO_STREAMS_TOPICS": json.dumps([{**topic, "name": "changes"}]),
        "TAP_WORKATO_STREAMS_STREAM_MAPS": json.dumps({"changes": maps}),
    }
    emulator.load(11, [{"order_id": "D", "email": "hush", "total": "free"}, {"order_id": "E"}])
    emulator.load(11, [{"order_id": "E", "deleted": True, "email": {"x": "hush"}}])
    run, *plugins = PIPELINE
    project.meltano(run, "--refresh-catalog", "--full-refresh", *plugins, variables=kept)
    database.execute(view.replace("event_streams.orders", "event_streams.changes"))
    found = database.query("SELECT order_id, total_cents FROM event_streams.current_orders")
    assert {order_id: cents and int(cents) for order_id, cents in found} == {
        "A": 1000,
        "B": 999,
        "C": 125,
        "D": None,
    }
    everything = database.query("SELECT c::text FROM event_streams.changes c")
    assert "hush" not in str(everything)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("text", "'12345678901234567890'"),
        ("text", "string_agg(md5(random()::text), '')"),
        ("numeric", "12345.67"),
        ("bigint", "5"),
    ],
)
def test_as_many_columns_fit_in_a_row_as_documented(database, kind, value):
    """The header of a row takes 24 of its 8,160 bytes."""
    rows = re.findall(r"\| (\d+) \| ([\d,]+) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    size, documented = next(
        (int(size), int(count.replace(",", "")))
        for (size, count), each in zip(rows, ("'1", "string", "12", "5"), strict=True)
        if value.startswith(each)
    )
    assert documented == (8160 - 24) // size

    for count, fits in ((documented, True), (documented + 1, False)):
        database.execute("DROP TABLE IF EXISTS wide")
        columns = ", ".join(f"c{number} {kind}" for number in range(count))
        database.execute(f"CREATE TABLE wide ({columns})")
        source = "FROM generate_series(1, 70)" if "agg" in value else ""
        insert = f"INSERT INTO wide SELECT {', '.join([value] * count)} {source}"
        if fits:
            database.execute(insert)
        else:
            with pytest.raises(psycopg.errors.ProgramLimitExceeded, match="row is too big"):
                database.execute(insert)


def test_a_wide_row_is_loaded_with_a_schema_of_the_fields_that_matter(project, emulator, database):
    emulator.create_topic("orders", id=11)
    declared, _ = (yaml.safe_load(block)["config"] for block in blocks("yaml"))
    [evolution] = quoted(r"`schema_evolution: (\w+)`, which keeps the others")
    wide = {f"field_{number}": "x" * 20 for number in range(450)}
    emulator.load(11, [{"order_id": "A", "total": 9.99, **wide}])

    project.meltano(
        *PIPELINE,
        variables={
            **UNPACKED,
            "WAREHOUSE_URL": database.url,
            "TAP_WORKATO_STREAMS_TOPICS": json.dumps(declared["topics"]),
            "TAP_WORKATO_STREAMS_SCHEMA_EVOLUTION": evolution,
        },
    )

    [(total, rescued)] = database.query(
        "SELECT total::text, (SELECT count(*) FROM jsonb_object_keys(_rescued)) "
        "FROM event_streams.orders"
    )
    # The order's id is not declared either.
    assert (total, rescued) == ("9.99", 450 + 1)


def cached_catalog(project: Project, variables: dict[str, str], folder: Path) -> dict[str, str]:
    """Make a catalog; Meltano caches it, except for plugins that are installed as editable."""
    catalog = folder / "catalog.json"
    dump = ("invoke", "--dump=catalog", "tap-workato-streams")
    catalog.write_text(project.meltano(*dump, variables=variables), encoding="utf-8")
    return {"TAP_WORKATO_STREAMS__CATALOG": str(catalog)}


def blocks(language: str) -> list[str]:
    """Return the code blocks of the page in a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def quoted(pattern: str) -> list[str]:
    """Return what a group of a pattern matches on the page, whose lines are joined."""
    return re.findall(pattern, re.sub(r"\s+", " ", PAGE.read_text(encoding="utf-8")))
