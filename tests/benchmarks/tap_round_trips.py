"""The tap where each answer takes 50 ms: one topic, and eight side by side."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import workload
from tests.benchmarks.configs import tap_config
from tests.benchmarks.measure import measure, side_by_side
from tests.benchmarks.report import Goal, Section, costs
from tests.emulator.control import Emulator
from tests.executables import command

if TYPE_CHECKING:
    from tests.benchmarks.measure import Run
    from tests.benchmarks.scale import Scale

LATENCY_SECS = 0.05
PAGE = 50
TOPICS = 8
ABOUT = """\
Topics of {messages:,} messages of 500 bytes, read in pages of 50, each answer after 50 ms. What is
compared are the seconds from the first request to the last answer. The ideal is that the service
is always at work on a request: as many round trips as there are pages, each of the time that the
emulator took to answer."""


def run(scale: Scale) -> Section:
    """Measure one topic beside eight."""
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

        runs = side_by_side(
            {"one topic": lambda: read(ids[:1]), "eight topics": lambda: read(ids)},
            scale.runs,
        )
    one, eight = runs.values()
    columns, (row_of_one, row_of_eight) = costs(count, runs)
    row_of_eight[1] = f"{TOPICS * count / eight.wall_secs:,.0f}"
    columns.append("answer ms")
    row_of_one.append(f"{1000 * one.answering_secs:.1f}")
    row_of_eight.append(f"{1000 * eight.answering_secs:.1f}")
    ideal = one.requests * one.answering_secs
    return Section(
        "The tap, 50 ms latency",
        ABOUT.format(messages=count),
        columns,
        [row_of_one, row_of_eight],
        goals=[
            Goal("one topic, share of one page a round trip", ideal / one.serving_secs, 0.95),
            Goal(
                "eight topics against one", TOPICS * one.serving_secs / eight.serving_secs, 7, "x"
            ),
        ],
    )
