"""The target compared with a stock SDK target, dlt and a bare loop, without latency."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import contender_config, target_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn, module
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

BATCH = 100
ABOUT = """\
{messages:,} records of 500 bytes from a file into one topic. The stock target is a `BatchSink` of
100 with `requests.post`; dlt is a pipeline with a custom destination and `batch_size=100`; the
floor is a loop with `http.client` and orjson. All of them post the same bodies of 100 messages."""


def run(scale: Scale) -> Section:
    """Measure the contenders in turn."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = workload.write_singer_file(folder / "orders.jsonl", scale.messages)
        topic_id = emulator.create_topic()
        ours = target_config(folder, emulator, topic_id)
        config = contender_config(folder, emulator, topic_id)

        def contender(who: str, line: Sequence[str]) -> Callable[[], Run]:
            def contend() -> Run:
                emulator.purge(topic_id)
                run = measure(emulator, line, stdin=source)
                workload.check(who, workload.published(emulator, topic_id), scale.messages)
                return run

            return contend

        commands = {
            "target-workato-streams": command("target-workato-streams", "--config", ours),
            "stock SDK target": module("target_stock", "--config", config),
            "dlt destination": module("target_dlt", config),
            "floor": module("target_floor", config),
        }
        runs = measure_in_turn(
            {who: contender(who, line) for who, line in commands.items()}, scale.runs
        )
    target, stock, _, floor = runs.values()
    fewest = scale.messages / BATCH
    return Section(
        "The target, 0 ms latency",
        ABOUT.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[
            Goal("speed relative to the stock target", stock.wall_secs / target.wall_secs, 11, "x"),
            Goal("speed relative to the floor", floor.wall_secs / target.wall_secs, 1 / 2, "x"),
            Goal("requests", target.requests, fewest, at_most=True),
        ],
    )
