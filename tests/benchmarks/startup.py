"""From the start of a process to its first request, and through a run without news."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import workload
from tests.benchmarks.configs import contender_config, tap_config, target_config
from tests.benchmarks.measure import measure, module, side_by_side
from tests.benchmarks.report import Section
from tests.emulator.control import Emulator
from tests.executables import command

if TYPE_CHECKING:
    from tests.benchmarks.scale import Scale

ABOUT = """\
The taps read an empty topic, the targets publish one record. Nearly all of it is the import of the
SDK; the floor shows what Python itself takes."""


def run(scale: Scale) -> Section:
    """Measure short runs."""
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
        runs = side_by_side(
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
