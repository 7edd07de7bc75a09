"""The start-up time: until the first request, and of a run with nothing to load."""

from __future__ import annotations

import tempfile
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import contender_config, tap_config, target_config
from tests.tools.benchmarks.measure import measure, measure_in_turn, module
from tests.tools.benchmarks.report import Section
from tests.tools.benchmarks.scale import Scale

ABOUT = """\
The taps read an empty topic, and the targets publish one record. Importing the SDK takes most of
the time; the floor shows the share of Python itself."""


def run(scale: Scale) -> Section:
    """Measure runs that have nothing or one record to load."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = workload.write_singer_file(folder / "orders.jsonl", 1)
        empty, full = emulator.create_topic("empty"), emulator.create_topic("full")
        tap = tap_config(folder, emulator, {workload.STREAM: empty})
        target = target_config(folder, emulator, full)
        config = contender_config(folder, emulator, empty)
        commands = {
            "tap-workato-streams": command("tap-workato-streams", "--config", tap),
            "stock SDK tap": module("tap_stock", "--config", config),
            "floor of a tap": module("tap_floor", config),
            "target-workato-streams": command("target-workato-streams", "--config", target),
            "stock SDK target": module("target_stock", "--config", config),
            "floor of a target": module("target_floor", config),
        }
        runs = measure_in_turn(
            {
                who: lambda line=line: measure(emulator, line, stdin=source)  # type: ignore[misc]
                for who, line in commands.items()
            },
            scale.short_runs,
        )
    return Section(
        "Start-up",
        ABOUT,
        ["", "first request after ms", "whole run ms", "CPU ms"],
        [
            [
                who,
                f"{1000 * run.first_request_secs:.0f}",
                f"{1000 * run.wall_secs:.0f}",
                f"{1000 * run.cpu_secs:.0f}",
            ]
            for who, run in runs.items()
        ],
    )
