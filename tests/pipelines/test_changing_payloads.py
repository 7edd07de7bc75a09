"""Payloads that change over time, with Meltano and PostgreSQL: no load fails, and no value is lost.

`make drift` runs the longer scenario in `changing_payloads_scenario.py`.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pipelines.changing_payloads import (
    LATER,
    OTHER_TYPES,
    PIPELINE,
    UNPACKED,
    check_table,
    sampled,
)
from tests.tools.demo.warehouse import warehouse

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.tools.demo.warehouse import Warehouse

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def database() -> Iterator[Warehouse]:
    with tempfile.TemporaryDirectory() as name, warehouse(Path(name) / "warehouse") as running:
        yield running


def test_every_value_of_a_drifting_topic_is_in_the_database(project, emulator, database):
    """The first run has new fields; the second has other types, and the catalog of the first."""
    emulator.create_topic("orders", id=11)
    variables = {**UNPACKED, "WAREHOUSE_URL": database.url}

    emulator.load(11, [*(sampled(number) for number in range(110)), *LATER])
    project.meltano(*PIPELINE, variables=variables)
    check_table(database, emulator.messages(11))
    emulator.load(11, OTHER_TYPES)
    project.meltano(*PIPELINE, variables=variables)
    check_table(database, emulator.messages(11))
