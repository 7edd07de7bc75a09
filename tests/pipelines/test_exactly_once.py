"""Exactly once through `meltano run`: killed at random moments, with the state in its database.

`make chaos-exactly-once` runs the same with other taps, in `exactly_once_scenario.py`.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import kill_once_counted
from tests.tools.demo.project import MELTANO, Project

ROWS = 1500
TARGET = "target-workato-streams"
COMMAND = ("run", "--force", "tap", TARGET)


def copy(
    tap: dict[str, Any],
    fill: Callable[[int], object],
    emulator: Emulator,
    folder: Path,
    *,
    kills: int,
    seed: str,
) -> list[dict[str, Any]]:
    """Run a pipeline with a tap, kill it several times, and run it to its end.

    The first run, which is at least once until the tap's first STATE, is not killed. Then `fill`
    gives the source as many rows again.

    Returns:
        The payloads in the topic.
    """
    topic = emulator.create_topic("copy")
    project = lay_out(folder, tap, emulator, topic)
    chance = random.Random(seed)  # noqa: S311 - no secret

    def count() -> int:
        return len(emulator.messages(topic))

    fill(ROWS // 2)
    project.meltano(*COMMAND)
    fill(ROWS)
    emulator.fault("latency", secs=0.05, operation="batch", times=-1)
    for _ in range(kills):
        kill_once_counted(project.start(*COMMAND), count, after_secs=chance.uniform(0, 1.5))
        # What a killed process has sent is applied by then.
        emulator.wait_until_idle()
    emulator.clear_faults()
    project.meltano(*COMMAND)
    return emulator.payloads(topic)


def lay_out(folder: Path, tap: dict[str, Any], emulator: Emulator, topic: int) -> Project:
    """Write a project with the tap and the target."""
    config = {
        "api_url": emulator.url,
        "api_token": emulator.token,
        "default_topic_id": topic,
        "exactly_once": True,
        "message_key_field": "message_key",
        "batch_size_rows": 20,
        "max_batch_age_secs": 0.5,
    }
    content = {
        "requires_meltano": ">=4.4,<5",
        "project_id": "exactly-once",
        "send_anonymous_usage_stats": False,
        "cli": {"disable_version_check": True},
        "environments": [{"name": "dev"}],
        "plugins": {
            "extractors": [tap],
            "loaders": [plugin(TARGET, MELTANO.parent / TARGET, config)],
        },
    }
    (folder / "meltano.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return Project(folder, {})


def plugin(name: str, executable: Path, config: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any YAML
    """Define a plugin."""
    return {
        "name": name,
        "namespace": name.replace("-", "_"),
        "executable": str(executable),
        "capabilities": ["catalog", "discover", "state"],
        "settings": [{"name": setting} for setting in config],
        "config": config,
        **more,
    }


@pytest.mark.timeout(600)
def test_a_topic_is_copied_exactly_once(emulator, tmp_path):
    """tap-workato-streams reads the topic; the second and the third run are killed."""
    topic = emulator.create_topic("orders")
    config = {
        "api_url": emulator.url,
        "api_token": emulator.token,
        "topics": [{"id": topic, "name": "orders"}],
        "state_interval_secs": 0.1,
    }
    tap = plugin("tap", MELTANO.parent / "tap-workato-streams", config)

    def fill(rows: int) -> None:
        known = len(emulator.messages(topic))
        emulator.load(topic, [{"n": number} for number in range(known, rows)])

    payloads = copy(tap, fill, emulator, tmp_path, kills=2, seed="1")
    assert [payload["payload"]["n"] for payload in payloads] == list(range(ROWS))
