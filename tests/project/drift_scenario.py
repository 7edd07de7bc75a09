"""`make drift`: load a drifting topic with kills and full refreshes, and a topic of changes.

The variable SEED determines the order in which values of other types arrive.
"""

from __future__ import annotations

import json
import os
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.project.drift import (
    LATER,
    OTHER_TYPES,
    PIPELINE,
    UNPACKED,
    check_table,
    in_chunks,
    kill_in_the_middle,
    sampled,
)
from tests.project.test_drift import database

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.demo.project import Project
    from tests.demo.warehouse import Warehouse

pytestmark = pytest.mark.timeout(600)

__all__ = ["database"]
SEED = os.environ.get("SEED", "0")


@pytest.fixture
def other_types() -> list[bytes | dict[str, Any]]:
    """Values of other types, in random order."""
    print(f"SEED={SEED}")  # noqa: T201 - pytest shows it if the test fails
    return random.Random(SEED).sample(OTHER_TYPES, len(OTHER_TYPES))  # noqa: S311 - no secret


def test_kills_and_full_refreshes_lose_nothing(
    project: Project,
    emulator: Emulator,
    database: Warehouse,
    other_types: list[bytes | dict[str, Any]],
) -> None:
    """After six runs with one cached catalog, each value is in its column or in `_rescued`."""
    emulator.create_topic("orders", id=11)
    variables = {**UNPACKED, "WAREHOUSE_URL": database.url}

    # So many that pages of ten begin at the same messages when the topic is read again: otherwise
    # a field that appears later might be seen with other values first, and get another type.
    padding = [sampled(number) for number in range(10 - len(LATER))]
    emulator.load(11, [*(sampled(number) for number in range(110)), *LATER, *padding])
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
    project: Project, emulator: Emulator, database: Warehouse
) -> None:
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
