"""Unpacked records compared with nested ones, and with a field that never fits its column."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workato_streams_emulator import Emulator

from tests.benchmarks import workload
from tests.benchmarks.measure import measure, measure_in_turn
from tests.benchmarks.report import Goal, Section, costs
from tests.executables import command, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.benchmarks.measure import Run
    from tests.benchmarks.scale import Scale

ABOUT = """\
{messages:,} messages of 500 bytes from one topic, written to a file. *Nested* is the default.
*Unpacked* makes a column of each field; the schema is inferred from a sample in which one field is
always null. *With a misfit* sets a schema that gives one field the wrong type for every message.
*Flattened* is the SDK's flattening of unpacked records. The goals compare CPU time, less that of an
empty topic."""

UNPACKED: dict[str, Any] = {"record_format": "unpacked"}
WRONG = {
    "type": "object",
    "properties": {**workload.SCHEMA["properties"], "currency": workload.INTEGER},
}
# The settings of the tap, and the settings of its topic.
FORMATS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nested": ({}, {}),
    "unpacked": (UNPACKED, {}),
    "unpacked, with a misfit": (UNPACKED, {"schema": WRONG}),
    "flattened": ({**UNPACKED, "flattening_enabled": True, "flattening_max_depth": 1}, {}),
}


def run(scale: Scale) -> Section:
    """Measure the formats in turn."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        topic, empty = emulator.create_topic(), emulator.create_topic()
        emulator.load(topic, workload.payloads(scale.messages))
        output = folder / "output.jsonl"

        def contender(about: str, topic_id: int, messages: int) -> Callable[[], Run]:
            settings, of_topic = FORMATS[about]
            topics = [{"id": topic_id, "name": workload.STREAM, **of_topic}]
            access = {"api_url": emulator.url, "api_token": emulator.token}
            path = folder / f"{about}-{topic_id}.json"
            config = write_json(path, {**access, "topics": topics, **settings})

            def contend() -> Run:
                run = measure(
                    emulator, command("tap-workato-streams", "--config", config), stdout=output
                )
                workload.check(about, workload.orders(output.read_bytes()), messages)
                return run

            return contend

        runs = measure_in_turn(
            {name: contender(name, topic, scale.messages) for name in FORMATS}, scale.runs
        )
        start = measure_in_turn({"start": contender("nested", empty, 0)}, scale.runs)["start"]
    speeds = {name: 1 / (each.cpu_secs - start.cpu_secs) for name, each in runs.items()}
    return Section(
        "Unpacked records, 0 ms latency",
        ABOUT.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[
            Goal("unpacked relative to nested", speeds["unpacked"] / speeds["nested"], 0.6, "x"),
            Goal(
                "with a misfit relative to unpacked",
                speeds["unpacked, with a misfit"] / speeds["unpacked"],
                0.4,
                "x",
            ),
        ],
    )
