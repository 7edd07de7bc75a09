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
        store = f"file://{tmp_path}/{seed}-{{}}.db"
        found = history(kind, FAULTS[faults], seed, store, reads=reads)
        assert found["nights"] > 0
        assert (found["wrong"], found["untrue"]) == (0, 0), seed
        assert found["twice"] == 0 or not reads or "expiry" in FAULTS[faults], seed


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("reads", [True, False])
def test_so_do_histories_with_a_store_in_postgresql(postgres, kind, reads):
    faults = FAULTS["kills, lost, partial, unknown"]
    for seed in range(2):
        name = f"{kind}-{reads}-{seed}-{{}}"
        store = f"postgresql://postgres:x@/postgres?host={postgres.socket}&name={name}"
        found = history(kind, faults, seed, store, reads=reads)
        assert (found["wrong"], found["untrue"]) == (0, 0), seed
        assert found["twice"] == 0 or not reads, seed
