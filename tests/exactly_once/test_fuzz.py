"""Random histories, in which nothing is lost or duplicated, and every state is true."""

from __future__ import annotations

import pytest

from tests.exactly_once.campaign import CAMPAIGNS, play

# `make fuzz-exactly-once` plays more of them.
HISTORIES = 12
# Only few of these histories end a run with a version that the topic contained before.
MORE = dict.fromkeys((name for name in CAMPAIGNS if "while it is read" in name), 40)


@pytest.mark.parametrize("name", CAMPAIGNS)
def test_no_history_loses_or_duplicates_anything(name: str) -> None:
    """Play kills, lost responses, partial failures and old states with each kind of source."""
    result = play(CAMPAIGNS[name], range(MORE.get(name, HISTORIES)))
    if result.failed:
        seed, history = result.failed
        pytest.fail("\n".join([f"seed {seed}", *history.service.trace, *history.violations]))
    assert result.counts["histories"]
