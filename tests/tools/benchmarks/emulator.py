"""How many pages per second the emulator serves.

The emulator must not be the bottleneck of the other benchmarks. The client is therefore minimal:
one connection of `http.client`, and the last message id is cut out of the page without decoding it.
"""

from __future__ import annotations

import statistics
import time

from workato_streams_emulator import Emulator

from tests.tools.benchmarks import workload
from tests.tools.benchmarks.report import Goal, Section
from tests.tools.benchmarks.scale import Scale

WANTED_PAGES_PER_SEC = 1_500
ABOUT = """\
Pages of 50 messages of 500 bytes, read one after another on one connection and not decoded. The
emulator is not a bottleneck as long as this is well above the rate of any contender."""


def run(scale: Scale) -> Section:
    """Measure how fast a topic can be read without a connector."""
    speeds = []
    with Emulator.start() as emulator:
        topic_id = emulator.create_topic()
        emulator.load(topic_id, workload.payloads(scale.messages))
        for _ in range(scale.runs):
            began = time.perf_counter()
            pages = sum(1 for _ in workload.pages(emulator, topic_id))
            speeds.append(pages / (time.perf_counter() - began))
    median = statistics.median(speeds)
    return Section(
        "The emulator",
        ABOUT,
        ["", "pages per second"],
        [["emulator", f"{median:,.0f}"]],
        goals=[Goal("pages per second", median, WANTED_PAGES_PER_SEC)],
    )
