"""Unpacked records compared with the SDK's flattening and with dlt, and with nested ones."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import command, write_json
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import contender_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn, module
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

ABOUT = """\
{messages:,} messages of 500 bytes from one topic, written to a file. *Nested* is the default.
*Unpacked* makes a column of each field; the schema is inferred from a sample in which one field is
always null. *With rescued values* sets a schema that gives one field the wrong type for every
message. *With a filter* has a `__filter__` that every message passes. *Flattened* is the SDK's
flattening of unpacked records. dlt's `rest_api` source is iterated, without normalizing and
loading, so its records are nested. The goals compare CPU time, less that of an empty topic."""

UNPACKED: dict[str, Any] = {"record_format": "unpacked"}
WRONG = {
    "type": "object",
    "properties": {**workload.SCHEMA["properties"], "currency": workload.INTEGER},
}
FILTER = {workload.STREAM: {"__filter__": "order is not None"}}
# The settings of the tap, and the settings of its topic.
FORMATS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nested": ({}, {}),
    "unpacked": (UNPACKED, {}),
    "unpacked, with rescued values": (UNPACKED, {"schema": WRONG}),
    "unpacked, with a filter": ({**UNPACKED, "stream_maps": FILTER}, {}),
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

        config = contender_config(folder, emulator, topic)

        def dlt() -> Run:
            run = measure(emulator, module("tap_dlt", config), stdout=output)
            workload.check("dlt", workload.orders(output.read_bytes()), scale.messages)
            return run

        contenders = {name: contender(name, topic, scale.messages) for name in FORMATS}
        runs = measure_in_turn({**contenders, "dlt rest_api": dlt}, scale.runs)
        start = measure_in_turn({"start": contender("nested", empty, 0)}, scale.runs)["start"]
    speeds = {name: 1 / (each.cpu_secs - start.cpu_secs) for name, each in runs.items()}
    return Section(
        "Unpacked records, 0 ms latency",
        ABOUT.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[
            Goal(
                "unpacked relative to the SDK's flattening",
                speeds["unpacked"] / speeds["flattened"],
                5,
                "x",
            ),
            Goal("unpacked relative to dlt", speeds["unpacked"] / speeds["dlt rest_api"], 1, "x"),
        ],
    )
