"""`make chaos-exactly-once`: kill `meltano run` with other taps at random moments.

The variable SEED determines these moments.
"""

import json
import os
from collections import Counter
from typing import Any

import pytest

from tests.pipelines.test_exactly_once import ROWS, copy, plugin
from tests.tools.matrix import plugins
from tests.tools.matrix.plugins import Plugin

pytestmark = pytest.mark.timeout(1200)

SEED = os.environ.get("SEED", "0")
TABLE = """
CREATE TABLE IF NOT EXISTS orders (id integer PRIMARY KEY, updated_at timestamp, note text);
INSERT INTO orders SELECT n, '2026-11-24'::timestamp + n * interval '1 second', 'x'
FROM generate_series(1, {rows}) n ON CONFLICT DO NOTHING
"""


def installed(tap: Plugin, config: dict[str, Any], **more: Any) -> dict[str, Any]:  # noqa: ANN401 - any YAML
    """Install a tap, and define its plugin."""
    plugins.install(tap)
    return plugin("tap", tap.path, config, **more)


def check(payloads: list[dict[str, Any]], *, again: int) -> None:
    """Check that no row is lost, and that at most as many as the tap repeats are there twice."""
    counts = Counter(payload["message_key"] for payload in payloads)
    assert len(counts) == ROWS
    assert sum(count > 1 for count in counts.values()) <= again


def test_a_file_is_copied_exactly_once(emulator, tmp_path):
    """The tap reads the whole file each time: the rows of the first run come twice."""
    path = tmp_path / "orders.jsonl"

    def fill(rows: int) -> None:
        lines = [json.dumps({"id": number, "note": "x"}) for number in range(rows)]
        path.write_text("\n".join(lines), encoding="utf-8")

    config = {"path": str(path), "stream_name": "orders", "primary_keys": ["id"]}
    tap = installed(plugins.TAP_JSONL, config)
    payloads = copy(tap, fill, emulator, tmp_path, kills=4, seed=SEED)
    check(payloads, again=ROWS // 2)


@pytest.mark.parametrize(
    ("tap", "config", "catalog"),
    [
        (
            plugins.MELTANOLABS_TAP_POSTGRES,
            {"database": "postgres", "filter_schemas": ["public"]},
            "catalog",
        ),
        (plugins.PIPELINEWISE_TAP_POSTGRES, {"dbname": "postgres"}, "properties"),
    ],
    ids=["meltanolabs", "pipelinewise"],
)
def test_a_table_is_copied_exactly_once(emulator, tmp_path, database, tap, config, catalog):
    """The tap repeats the rows of its bookmarks, the last ones of the two contents of the table."""

    def fill(rows: int) -> None:
        database.execute(TABLE.format(rows=rows))

    server = {"host": "127.0.0.1", "port": database.port, "user": "postgres", "password": "x"}
    key = {"replication-method": "INCREMENTAL", "replication-key": "updated_at"}
    definition = installed(
        tap,
        {**server, **config},
        capabilities=[catalog, "discover", "state"],
        select=["public-orders.*"],
        metadata={"public-orders": key},
    )
    check(copy(definition, fill, emulator, tmp_path, kills=4, seed=SEED), again=2)
