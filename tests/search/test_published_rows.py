"""A small part of the search for wrong, untrue and repeated messages, the same in each run."""

import pytest

from tests.search.published_rows import FAULTS, SOURCES, history

HISTORIES = 8


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("reads", [True, False])
def test_histories_end_with_the_rows_of_the_source(tmp_path, kind, faults, reads):
    """With `exactly_once`, no row is published twice in succession, unless messages expire."""
    for seed in range(HISTORIES):
        found = history(kind, FAULTS[faults], seed, tmp_path, reads=reads)
        assert found["nights"] > 0
        assert (found["wrong"], found["untrue"]) == (0, 0), seed
        assert found["twice"] == 0 or not reads or "expiry" in FAULTS[faults], seed
