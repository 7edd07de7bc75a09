"""Random histories in a world that deviates; `make fuzz-exactly-once` plays more of them."""

import pytest

from tests.search.exactly_once.simulation.campaign import DEVIATIONS, SOURCES, play, trace

HISTORIES = 5


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_no_history_loses_anything_or_duplicates_more_than_documented(deviation):
    """Nothing is lost, every state is true, and duplicates are those that are documented."""
    for source in SOURCES:
        _, seed = play(source, deviation, range(HISTORIES))
        if seed is not None:
            lines = trace(source, deviation, seed)
            pytest.fail("\n".join([f"{source}, {deviation}, seed {seed}", *lines]))
