"""The target with 50 ms latency: one batch in flight, and four."""

from __future__ import annotations

import tempfile
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import target_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

LATENCY_SECS = 0.05
BATCH = 100
IN_FLIGHT = 4
ABOUT = """\
{messages:,} records of 500 bytes from a file into one topic, in batches of 100; each response takes
50 ms. The goals compare the time from the first request to the last response. Ideally, the next
batch is sent as soon as a response arrives, so that this time is the number of batches times the
response time."""


def run(scale: Scale) -> Section:
    """Measure one batch in flight, then four."""
    count = scale.slow_pages * BATCH
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = workload.write_singer_file(folder / "orders.jsonl", count)
        topic_id = emulator.create_topic()
        emulator.configure(latency_secs=LATENCY_SECS)

        def publish(max_in_flight: int) -> Run:
            emulator.purge(topic_id)
            config = target_config(folder, emulator, topic_id, max_in_flight=max_in_flight)
            line = command("target-workato-streams", "--config", config)
            run = measure(emulator, line, stdin=source)
            emulator.configure(latency_secs=0.0)
            found = workload.published(emulator, topic_id)
            emulator.configure(latency_secs=LATENCY_SECS)
            # Only one batch in flight preserves the order.
            workload.check("the target", found if max_in_flight == 1 else sorted(found), count)
            return run

        runs = measure_in_turn(
            {"one in flight": lambda: publish(1), "four in flight": lambda: publish(IN_FLIGHT)},
            scale.runs,
        )
    one, four = runs.values()
    columns, rows = costs(count, runs)
    columns.append("response ms")
    for row, run in zip(rows, runs.values(), strict=True):
        row.append(f"{1000 * run.response_secs:.1f}")
    ideal = one.requests * one.response_secs
    return Section(
        "The target, 50 ms latency",
        ABOUT.format(messages=count),
        columns,
        rows,
        goals=[
            Goal("one in flight, share of the ideal", ideal / one.serving_secs, 0.95),
            Goal("four in flight relative to one", one.serving_secs / four.serving_secs, 3.5, "x"),
        ],
    )
