"""The tap compared with a stock SDK tap, dlt and a bare loop, without latency."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import contender_config, tap_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn, module
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

ABOUT = """\
{messages:,} messages of 500 bytes from one topic, written to a file as RECORD lines of the same
shape. The stock tap is a `RESTStream` as in the SDK's documentation. For dlt, its `rest_api` source
is iterated, without dlt's normalizing and loading. The floor is a loop with `http.client` and
orjson."""


def run(scale: Scale) -> Section:
    """Measure the contenders in turn."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        topic_id = emulator.create_topic()
        emulator.load(topic_id, workload.payloads(scale.messages))
        ours = tap_config(folder, emulator, {workload.STREAM: topic_id})
        config = contender_config(folder, emulator, topic_id)

        def contender(who: str, line: Sequence[str]) -> Callable[[], Run]:
            def contend() -> Run:
                output = folder / "output.jsonl"
                run = measure(emulator, line, stdout=output)
                workload.check(who, workload.orders(output.read_bytes()), scale.messages)
                return run

            return contend

        commands = {
            "tap-workato-streams": command("tap-workato-streams", "--config", ours),
            "stock SDK tap": module("tap_stock", "--config", config),
            "dlt rest_api": module("tap_dlt", config),
            "floor": module("tap_floor", config),
        }
        runs = measure_in_turn(
            {who: contender(who, line) for who, line in commands.items()}, scale.runs
        )
    tap, stock, _, floor = runs.values()
    return Section(
        "The tap, 0 ms latency",
        ABOUT.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[
            Goal("speed relative to the stock tap", stock.wall_secs / tap.wall_secs, 7, "x"),
            Goal("speed relative to the floor", floor.wall_secs / tap.wall_secs, 1 / 3, "x"),
        ],
    )
