"""Names of streams as tables of PostgreSQL, which limits them, and DuckDB, which ignores case."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.pipelines.orchestration import connection, definition, lay_out
from tests.tools.demo.project import MeltanoFailedError, Project
from tests.tools.demo.warehouse import Warehouse

pytestmark = pytest.mark.timeout(600)

TARGET_DUCKDB: dict[str, Any] = {
    "name": "target-duckdb",
    "namespace": "target_duckdb",
    "pip_url": "target-duckdb==0.8.0 duckdb==1.0.0",  # It loses rows with a newer DuckDB.
    "executable": "target-duckdb",
    "settings": [{"name": "path"}, {"name": "default_target_schema"}],
    "config": {"path": "warehouse.duckdb", "default_target_schema": "main"},
}
COUNT = """
import duckdb, json
connection = duckdb.connect("warehouse.duckdb", read_only=True)
names = [name for (name,) in connection.sql("SELECT table_name FROM duckdb_tables()").fetchall()]
count = 'SELECT count(*) FROM "%s"'
print(json.dumps({name: connection.sql(count % name).fetchall()[0][0] for name in names}))
"""
LONG = "Corrections of " * 5
# Two differ only before a wide hyphen, and two only after 63 bytes.
TITLES = [f"{LONG} orders", "EU\uff0dOrders", "US\uff0dOrders", f"{LONG} returns"]


@pytest.fixture
def project_with_duckdb(tmp_path: Path, emulator: Emulator) -> Project:
    content = definition()
    content["plugins"]["loaders"].append(TARGET_DUCKDB)
    del content["plugins"]["extractors"][0]["config"]["topics"]
    lay_out(tmp_path, content)
    project = Project(tmp_path, connection(emulator))
    project.meltano("install", "loader", "target-duckdb")
    return project


def duckdb_counts(folder: Path) -> dict[str, int]:
    """Return the number of rows of each table, read by the loader's own Python."""
    python = folder / ".meltano" / "loaders" / "target-duckdb" / "venv" / "bin" / "python"
    done = subprocess.run([python, "-c", COUNT], cwd=folder, capture_output=True, check=True)
    counts: dict[str, int] = json.loads(done.stdout)
    return counts


def test_names_that_nobody_chose_are_tables_of_their_own(
    project_with_duckdb: Project,
    emulator: Emulator,
    database: Warehouse,
    developer: dict[str, str],
    tmp_path: Path,
) -> None:
    for title in TITLES:
        emulator.load(emulator.create_topic(title), [{"title": title}])
    variables = {f"TAP_WORKATO_STREAMS_{name.upper()}": text for name, text in developer.items()}
    variables["WAREHOUSE_URL"] = database.url
    for loader in ("target-postgres", "target-duckdb"):
        project_with_duckdb.meltano("run", "tap-workato-streams", loader, variables=variables)
    named = "SELECT schemaname, relname FROM pg_stat_user_tables"
    count = "SELECT count(*) FROM {}.{}"
    counts = {
        table: database.query(count.format(schema, table))[0][0]
        for schema, table in database.query(named)
    }
    assert sorted(counts.values()) == [1] * len(TITLES)
    assert duckdb_counts(tmp_path) == counts


def test_two_names_that_are_one_table_without_case_are_an_error(
    project_with_duckdb: Project, emulator: Emulator, tmp_path: Path
) -> None:
    topics = {name: emulator.create_topic(name) for name in ("Orders", "orders")}
    for topic_id in (1, 2):
        emulator.load(topic_id, [{"id": topic_id}])
    variables = {"TAP_WORKATO_STREAMS_TOPICS": json.dumps(topics)}
    with pytest.raises(MeltanoFailedError, match=r"Orders \(topic 1\) and orders \(topic 2\)"):
        project_with_duckdb.meltano(
            "run", "tap-workato-streams", "target-duckdb", variables=variables
        )
    assert not (tmp_path / "warehouse.duckdb").exists() or duckdb_counts(tmp_path) == {}
