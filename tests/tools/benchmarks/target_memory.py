"""The target's peak memory for a short stream, and for one that is 100 times as long."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import target_config
from tests.tools.benchmarks.measure import ROOT, Run, measure, measure_in_turn
from tests.tools.benchmarks.report import MIB, Goal, Section
from tests.tools.benchmarks.scale import Scale

LESS = 100
ABOUT = """\
Records of 500 bytes through a pipe, generated during the run."""


def run(scale: Scale) -> Section:
    """Measure a short and a long stream, once each: memory hardly varies between runs."""
    few, many = scale.many_messages // LESS, scale.many_messages
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        topic_id = emulator.create_topic()
        config = target_config(Path(name), emulator, topic_id)

        def publish(count: int) -> Run:
            emulator.purge(topic_id)
            with subprocess.Popen(
                [sys.executable, "-m", workload.__name__, str(count)],
                cwd=ROOT,
                stdout=subprocess.PIPE,
            ) as source:
                line = command("target-workato-streams", "--config", config)
                run = measure(emulator, line, stdin=source.stdout)
            workload.check("the target", workload.published(emulator, topic_id), count)
            return run

        runs = measure_in_turn(
            {f"{count:,} records": lambda count=count: publish(count) for count in (few, many)},  # type: ignore[misc]
            runs=1,
        )
    short, long = runs.values()
    return Section(
        "The target's memory",
        ABOUT,
        ["", "peak MB", "wall s", "requests"],
        [
            [who, f"{run.peak_bytes / MIB:.1f}", f"{run.wall_secs:.1f}", f"{run.requests:,.0f}"]
            for who, run in runs.items()
        ],
        goals=[
            Goal(
                f"peak memory of {many:,} records relative to {few:,}",
                long.peak_bytes / short.peak_bytes,
                1.05,
                "x",
                at_most=True,
            )
        ],
    )
