"""`make chaos-exactly-once`: kill `meltano run` with other taps at random moments.

The variable SEED determines these moments.
"""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.pipelines.orchestration import definition, lay_out
from tests.pipelines.test_exactly_once import ROWS, copy
from tests.tools.matrix import plugins
from tests.tools.matrix.plugins import Plugin

pytestmark = pytest.mark.timeout(1200)

SEED = os.environ.get("SEED", "0")
TABLE = """
CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY, updated_at timestamp, note text);
INSERT INTO orders SELECT n, '2026-11-24'::timestamp + n * interval '1 second', 'x'
FROM generate_series(1, {rows}) n ON CONFLICT DO NOTHING
"""


def check(payloads: list[dict[str, Any]], *, again: int) -> None:
    """Check that no row is lost, and that at most as many as the tap repeats are there twice."""
    counts = Counter(payload["message_key"] for payload in payloads)
    assert len(counts) == ROWS
    assert sum(count > 1 for count in counts.values()) <= again


def add_tap(folder: Path, tap: Plugin, config: dict[str, Any], **more: Any) -> None:  # noqa: ANN401 - any YAML
    """Install a tap, and add it to the project."""
    plugins.install(tap)
    content = definition()
    content["plugins"]["extractors"].append(
        {
            "name": "tap",
            "namespace": "tap",
            "executable": str(tap.path),
            "capabilities": ["catalog", "discover", "state"],
            "settings": [{"name": name} for name in config],
            "config": config,
            **more,
        }
    )
    lay_out(folder, content)


def test_a_file_is_copied_exactly_once(project, emulator, tmp_path):
    path = tmp_path / "rows.jsonl"
    config = {"path": str(path), "stream_name": "orders", "primary_keys": ["id"]}
    add_tap(tmp_path, plugins.TAP_JSONL, config)

    def fill(rows: int) -> None:
        lines = [json.dumps({"id": number, "note": "x"}) for number in range(rows)]
        path.write_text("\n".join(lines), encoding="utf-8")

    check(copy(project, emulator, "tap", fill, kills=4, seed=SEED), again=ROWS // 2)


@pytest.mark.parametrize(
    ("tap", "config", "catalog"),
    [
        (plugins.MELTANOLABS_TAP_POSTGRES, {"filter_schemas": ["public"]}, "catalog"),
        (plugins.PIPELINEWISE_TAP_POSTGRES, {"dbname": "postgres"}, "properties"),
    ],
    ids=["meltanolabs", "pipelinewise"],
)
def test_a_table_is_copied_exactly_once(
    project, emulator, tmp_path, database, tap, config, catalog
):
    """The tap repeats the rows of its bookmarks, the last ones of the two contents of the table."""
    server = {"host": "127.0.0.1", "port": database.port, "user": "postgres", "password": "x"}
    key = {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}
    add_tap(
        tmp_path,
        tap,
        {**server, "database": "postgres", **config},
        capabilities=[catalog, "discover", "state"],
        select=["public-orders.*"],
        metadata={"public-orders": key},
    )

    def fill(rows: int) -> None:
        database.execute(TABLE.format(rows=rows))

    check(copy(project, emulator, "tap", fill, kills=4, seed=SEED), again=2)
