"""Payloads that change over time, with Meltano and PostgreSQL: no load fails, and no value is lost.

`make drift` runs the longer scenario in `changing_payloads_scenario.py`.
"""

import pytest

from tests.pipelines.changing_payloads import LATER, OTHER_TYPES, check_table, sampled


@pytest.mark.timeout(600)
def test_every_value_of_a_drifting_topic_is_in_the_database(load, emulator, database):
    """The first run has new fields; the second has other types, and the catalog of the first."""
    emulator.load(11, [*(sampled(number) for number in range(110)), *LATER])
    load()
    check_table(database, emulator.messages(11))
    emulator.load(11, OTHER_TYPES)
    load()
    check_table(database, emulator.messages(11))
