"""Exactly once through `meltano run`: killed at random moments, with the state in its database.

`make chaos-exactly-once` runs the same with other taps, in `exactly_once_scenario.py`.
"""

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import kill_once_counted
from tests.tools.demo.project import Project

ROWS = 1500
COPY = 12
SETTINGS = {
    "TAP_WORKATO_STREAMS_STATE_INTERVAL_SECS": "0.1",
    "TARGET_WORKATO_STREAMS_TOPICS": json.dumps({"orders": COPY, "public-orders": COPY}),
    "TARGET_WORKATO_STREAMS_EXACTLY_ONCE": "true",
    "TARGET_WORKATO_STREAMS_MESSAGE_KEY_FIELD": "message_key",
    "TARGET_WORKATO_STREAMS_BATCH_SIZE_ROWS": "20",
    "TARGET_WORKATO_STREAMS_MAX_BATCH_AGE_SECS": "0.5",
}


def copy(
    project: Project,
    emulator: Emulator,
    tap: str,
    fill: Callable[[int], object],
    *,
    kills: int,
    seed: str,
) -> list[dict[str, Any]]:
    """Run a pipeline, kill it several times, and run it to its end; return the payloads.

    The first run, which is at least once until the tap's first STATE, is not killed. Then `fill`
    gives the source as many rows again.
    """
    emulator.create_topic("copy", id=COPY)
    chance = random.Random(seed)  # noqa: S311 - no secret

    def run(meltano: Callable[..., Any]) -> Any:  # noqa: ANN401 - the output, or a process
        command = ("run", "--force", tap, "target-workato-streams")
        return meltano(*command, variables=SETTINGS)

    fill(ROWS // 2)
    run(project.meltano)
    fill(ROWS)
    # The rows take 7.5 s, so that no run ends before it is killed.
    emulator.fault("latency", secs=0.1, operation="batch", times=-1)
    for _ in range(kills):
        assert kill_once_counted(
            run(project.start),
            lambda: len(emulator.messages(COPY)),
            after_secs=chance.uniform(0, 1),
        )
        # What a killed process has sent is applied by then.
        emulator.wait_until_idle()
    emulator.clear_faults()
    run(project.meltano)
    return emulator.payloads(COPY)


@pytest.mark.timeout(600)
def test_a_topic_is_copied_exactly_once(project, emulator):
    topic = emulator.create_topic("orders", id=11)

    def fill(rows: int) -> None:
        known = len(emulator.messages(topic))
        emulator.load(topic, [{"n": number} for number in range(known, rows)])

    payloads = copy(project, emulator, "tap-workato-streams", fill, kills=2, seed="1")
    assert [payload["payload"]["n"] for payload in payloads] == list(range(ROWS))
