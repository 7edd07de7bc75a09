"""Kill `meltano run` with other taps: `python -m tests.pipelines.exactly_once [SEED]`.

The state is in Meltano's database. The first run, which is at least once until the tap's first
STATE, is not killed; then the source has as many rows again.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from workato_streams_emulator import Emulator

from tests.tools.demo.project import MELTANO
from tests.tools.demo.warehouse import warehouse
from tests.tools.matrix import plugins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.tools.demo.warehouse import Warehouse

BIN = Path(sys.executable).parent
ROWS = 1500
KILLS = 4
TARGET = "target-workato-streams"
TABLE = """
CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY, updated_at timestamp, note text);
INSERT INTO orders SELECT n, '2026-11-24'::timestamp + n * interval '1 second', 'x'
FROM generate_series(1, {rows}) n ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Source:
    """A tap, as a plugin of a Meltano project.

    Attributes:
        name: The name in the output.
        plugin: The definition of the plugin.
        fill: Fills the source up to a number of rows.
        incremental: Whether a later run delivers only the row of the bookmark and newer rows.
    """

    name: str
    plugin: dict[str, Any]
    fill: Callable[[int], object]
    incremental: bool = True


@dataclass
class Pipeline:
    """A project with one tap and the target, in its own folder."""

    folder: Path
    emulator: Emulator
    source: Source
    topic_id: int
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Write the project."""
        target = {
            "name": TARGET,
            "namespace": "target_workato_streams",
            "executable": str(BIN / TARGET),
            "config": {
                "api_url": self.emulator.url,
                "api_token": self.emulator.token,
                "default_topic_id": self.topic_id,
                "exactly_once": True,
                "message_key_field": "message_key",
                "batch_size_rows": 20,
                "max_batch_age_secs": 0.5,
            },
        }
        project = {
            "requires_meltano": ">=4.4,<5",
            "project_id": "exactly-once",
            "send_anonymous_usage_stats": False,
            "cli": {"disable_version_check": True},
            "default_environment": "dev",
            "environments": [{"name": "dev"}],
            "plugins": {"extractors": [self.source.plugin], "loaders": [target]},
        }
        text = yaml.safe_dump(project, sort_keys=False)
        (self.folder / "meltano.yml").write_text(text, encoding="utf-8")

    def run(self, *, kill_after_secs: float | None = None) -> bool:
        """Run the pipeline.

        Args:
            kill_after_secs: The time in seconds from the first new message to a kill.

        Returns:
            Whether the run succeeded.
        """
        arguments = ["run", "--force", self.source.plugin["name"], TARGET]
        env = {name: text for name, text in os.environ.items() if not name.startswith("MELTANO_")}
        known = self.count
        with tempfile.TemporaryFile() as log:
            process = subprocess.Popen(
                [str(MELTANO), *arguments],
                cwd=self.folder,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if kill_after_secs is not None:
                while process.poll() is None and self.count <= known:
                    time.sleep(0.05)
                time.sleep(kill_after_secs)
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
            process.wait(300)
            log.seek(0)
            self.log.append(log.read().decode(errors="replace"))
        # What a killed process has sent is applied by then.
        self.emulator.wait_until_idle()
        return process.returncode == 0

    @property
    def count(self) -> int:
        """The number of messages in the topic."""
        return len(self.emulator.messages(self.topic_id))

    def keys(self) -> Counter[str]:
        """Return the number of messages with each message key in the topic."""
        return Counter(p["message_key"] for p in self.emulator.payloads(self.topic_id))


def play(pipeline: Pipeline, kills: int, rng: random.Random) -> str:
    """Run a pipeline, kill it several times, and run it to its end.

    Returns:
        A line with the counts.

    Raises:
        AssertionError: A row is lost or duplicated.
    """
    source = pipeline.source
    source.fill(ROWS // 2)
    assert pipeline.run(), pipeline.log[-1]
    source.fill(ROWS)
    pipeline.emulator.fault("latency", secs=0.05, operation="batch", times=-1)
    for _ in range(kills):
        pipeline.run(kill_after_secs=rng.uniform(0, 1.5))
    pipeline.emulator.clear_faults()
    assert pipeline.run(), pipeline.log[-1]
    keys = pipeline.keys()
    assert len(keys) == ROWS, f"{source.name}: {len(keys)} of {ROWS} rows"
    # What a tap delivers again on purpose: all rows of the first run, or the rows of its bookmarks,
    # which are the last ones of the two contents of the source.
    again = sum(count > 1 for count in keys.values())
    more = max(0, again - (2 if source.incremental else ROWS // 2))
    assert more == 0, f"{source.name}: {more} duplicated"
    skipped = sum(log.count(" skipped") for log in pipeline.log)
    return (
        f"{source.name}: {ROWS} rows, {kills} kills, 0 lost, {more} duplicated, "
        f"{again - more} delivered again; {skipped} runs skipped records"
    )


def own(emulator: Emulator) -> Source:
    """Create a source that reads a topic with tap-workato-streams."""
    topic_id = emulator.create_topic("orders")

    def fill(rows: int) -> None:
        known = len(emulator.messages(topic_id))
        emulator.load(topic_id, [{"n": number} for number in range(known, rows)])

    config = {
        "api_url": emulator.url,
        "api_token": emulator.token,
        "topics": [{"id": topic_id, "name": "orders"}],
        "state_interval_secs": 0.1,
    }
    return Source("tap-workato-streams", _plugin(BIN / "tap-workato-streams", config), fill)


def _third_party(folder: Path, database: Warehouse) -> Iterator[Source]:
    path = folder / "orders.jsonl"

    def write(rows: int) -> None:
        lines = [json.dumps({"id": number, "note": "x"}) for number in range(rows)]
        path.write_text("\n".join(lines), encoding="utf-8")

    def insert(rows: int) -> None:
        database.execute(TABLE.format(rows=rows))

    jsonl = {"path": str(path), "stream_name": "orders", "primary_keys": ["id"]}
    yield Source("tap-jsonl", _plugin(plugins.TAP_JSONL.path, jsonl), write, incremental=False)
    key = {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}
    table = {"select": ["public-orders.*"], "metadata": {"public-orders": key}}
    server = {"host": "127.0.0.1", "port": database.port, "user": "postgres", "password": "x"}
    config = {**server, "database": "postgres", "filter_schemas": ["public"]}
    labs = _plugin(plugins.MELTANOLABS_TAP_POSTGRES.path, config)
    yield Source("meltanolabs-tap-postgres", {**labs, **table}, insert)
    database.execute("DROP TABLE IF EXISTS orders")
    wise = _plugin(plugins.PIPELINEWISE_TAP_POSTGRES.path, {**server, "dbname": "postgres"})
    wise["capabilities"] = ["properties", "discover", "state"]
    yield Source("pipelinewise-tap-postgres", {**wise, **table}, insert)


def _plugin(executable: Path, config: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": "tap",
        "namespace": "tap",
        "executable": str(executable),
        "capabilities": ["catalog", "discover", "state"],
        "settings": [{"name": name} for name in config],
        "config": config,
    }


def main(seed: int) -> int:
    """Run the pipeline of each source."""
    for plugin in (
        plugins.TAP_JSONL,
        plugins.MELTANOLABS_TAP_POSTGRES,
        plugins.PIPELINEWISE_TAP_POSTGRES,
    ):
        plugins.install(plugin)
    rng = random.Random(seed)  # noqa: S311 - no secret
    with (
        tempfile.TemporaryDirectory() as name,
        Emulator.start() as emulator,
        warehouse(Path(name) / "warehouse") as database,
    ):
        for source in _third_party(Path(name), database):
            folder = Path(name) / source.name
            folder.mkdir()
            pipeline = Pipeline(folder, emulator, source, emulator.create_topic(source.name))
            print(play(pipeline, KILLS, rng), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(int((sys.argv[1:2] or ["0"])[0])))
