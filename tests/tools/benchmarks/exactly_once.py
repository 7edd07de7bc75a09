"""The cost of `exactly_once`: speed if rows do not repeat, requests if they do."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import command
from tests.tools.benchmarks import workload
from tests.tools.benchmarks.configs import target_config
from tests.tools.benchmarks.measure import Run, measure, measure_in_turn
from tests.tools.benchmarks.report import Goal, Section, costs
from tests.tools.benchmarks.scale import Scale

BATCH = 100
KEY = {"message_key_field": "message_key"}
SETTINGS: dict[str, dict[str, Any]] = {
    "without": {},
    "message_key_field": KEY,
    "published_rows_url": {"published_rows_url": "rows.db"},
    "exactly_once": {"published_rows_url": "rows.db", "exactly_once": True},
}


def _settings(who: str, folder: Path) -> dict[str, Any]:
    settings = SETTINGS[who].copy()
    if "published_rows_url" in settings:
        settings["published_rows_url"] = (folder / "rows.db").as_uri()
    return settings


# Expected records per request: the number of random rows drawn before one repeats, at most 100.
HOT_ROWS = {5: 2.5, 100: 12.0, 1_000: 39.0, 10_000: 84.0}
SPEED = """\
{messages:,} records of 500 bytes, each for a different row, from a file into one topic: without a
message key, with one, with a store of published rows in SQLite, and with `exactly_once`."""
REQUESTS = """\
Records of a few rows that change at random, with `exactly_once` and without a STATE in between. A
batch never contains the same row twice."""


def speed(scale: Scale) -> Section:
    """Measure the target with and without `exactly_once`."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = workload.write_singer_file(folder / "orders.jsonl", scale.messages)
        topic_id = emulator.create_topic()

        def contender(who: str) -> Callable[[], Run]:
            def contend() -> Run:
                emulator.purge(topic_id)
                for path in folder.glob("rows.db*"):
                    path.unlink()
                config = target_config(folder, emulator, topic_id, **_settings(who, folder))
                line = command("target-workato-streams", "--config", config)
                run = measure(emulator, line, stdin=source)
                workload.check(who, workload.published(emulator, topic_id), scale.messages)
                return run

            return contend

        runs = measure_in_turn({who: contender(who) for who in SETTINGS}, scale.runs)
    more = runs["exactly_once"].requests - runs["without"].requests
    return Section(
        "Exactly once: speed",
        SPEED.format(messages=scale.messages),
        *costs(scale.messages, runs),
        goals=[Goal("additional requests", more, 1, at_most=True)],
    )


def requests(scale: Scale) -> Section:
    """Count the requests if few rows change often."""
    count = scale.messages // 20
    rows = []
    goals = []
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for hot, computed in HOT_ROWS.items():
            source = folder / "hot.jsonl"
            with source.open("wb") as file:
                file.writelines(_lines(hot, count))
            topic_id = emulator.create_topic()
            config = target_config(folder, emulator, topic_id, **_settings("exactly_once", folder))
            run = measure(
                emulator, command("target-workato-streams", "--config", config), stdin=source
            )
            workload.check(f"{hot} hot rows", [p["n"] for p in emulator.payloads(topic_id)], count)
            found = count / (run.requests - 1)
            rows.append([f"{hot:,}", f"{run.requests:,.0f}", f"{found:.1f}", f"{computed:g}"])
            goals.append(Goal(f"records per request, {hot:,} rows", found, computed * 0.9))
    columns = ["rows", "requests", "records per request", "expected"]
    return Section("Exactly once: hot rows", REQUESTS, columns, rows, goals)


def _lines(hot: int, count: int) -> Iterator[bytes]:
    chance = random.Random(1)  # noqa: S311 - no secret
    schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
    yield _line(type="STATE", value={})
    yield _line(type="SCHEMA", stream="hot", schema=schema, key_properties=["id"])
    for number in range(count):
        yield _line(type="RECORD", stream="hot", record={"id": chance.randrange(hot), "n": number})
    yield _line(type="STATE", value={"bookmarks": {"hot": count}})


def _line(**message: object) -> bytes:
    return json.dumps(message).encode() + b"\n"
