"""Exactly once through `meltano run`: killed at random moments, with the state in its database."""

import random

import pytest

from tests.pipelines.exactly_once import ROWS, Pipeline, own

pytestmark = pytest.mark.timeout(600)


def test_a_topic_is_copied_exactly_once(emulator, tmp_path):
    """tap-workato-streams reads the topic; the second and the third run are killed."""
    source = own(emulator)
    pipeline = Pipeline(tmp_path, emulator, source, emulator.create_topic("copy"))
    chance = random.Random(1)  # noqa: S311 - no secret
    source.fill(ROWS // 2)
    assert pipeline.run(), pipeline.log
    source.fill(ROWS)
    emulator.fault("latency", secs=0.05, operation="batch", times=-1)
    for _ in range(2):
        pipeline.run(kill_after_secs=chance.uniform(0, 1.5))
    emulator.clear_faults()
    assert pipeline.run(), pipeline.log
    copied = [payload["payload"]["n"] for payload in emulator.payloads(pipeline.topic_id)]
    assert copied == list(range(ROWS))
