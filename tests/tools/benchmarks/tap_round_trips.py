"""The tap with 50 ms latency: one topic, and eight topics concurrently."""

from __future__ import annotations

import tempfile
from pathlib import Path

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import tap_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

LATENCY_SECS = 0.05
PAGE = 50
TOPICS = 8
ABOUT = """\
Topics of {messages:,} messages of 500 bytes, read in pages of 50; each response takes 50 ms. The
goals compare the time from the first request to the last response. Ideally, the next request is
sent as soon as a response arrives, so that this time is the number of pages times the response
time."""


def run(scale: Scale) -> Section:
    """Measure one topic, then eight."""
    count = scale.slow_pages * PAGE
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ids = [emulator.create_topic(f"orders {number}") for number in range(TOPICS)]
        for topic_id in ids:
            emulator.load(topic_id, workload.payloads(count))
        emulator.configure(latency_secs=LATENCY_SECS)

        def read(topics: list[int]) -> Run:
            output = folder / "output.jsonl"
            streams = {f"orders_{topic_id}": topic_id for topic_id in topics}
            config = tap_config(folder, emulator, streams)
            line = command("tap-workato-streams", "--config", config)
            run = measure(emulator, line, stdout=output)
            lines = output.read_bytes().splitlines()
            for stream in streams:
                mark = f'"stream":"{stream}"'.encode()
                found = workload.orders(b"\n".join(line for line in lines if mark in line))
                workload.check(stream, found, count)
            return run

        runs = measure_in_turn(
            {"one topic": lambda: read(ids[:1]), "eight topics": lambda: read(ids)},
            scale.runs,
        )
    one, eight = runs.values()
    columns, (row_of_one, row_of_eight) = costs(count, runs)
    row_of_eight[1] = f"{TOPICS * count / eight.wall_secs:,.0f}"
    columns.append("response ms")
    row_of_one.append(f"{1000 * one.response_secs:.1f}")
    row_of_eight.append(f"{1000 * eight.response_secs:.1f}")
    ideal = one.requests * one.response_secs
    return Section(
        "The tap, 50 ms latency",
        ABOUT.format(messages=count),
        columns,
        [row_of_one, row_of_eight],
        goals=[
            Goal("one topic, share of the ideal", ideal / one.serving_secs, 0.95),
            Goal(
                "eight topics relative to one",
                TOPICS * one.serving_secs / eight.serving_secs,
                7,
                "x",
            ),
        ],
    )
