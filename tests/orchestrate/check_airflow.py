"""`orchestrate/airflow/` in a real Airflow, in an environment of its own: `make test-airflow`."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.demo.services import ROOT, TOPIC_ID
from tests.orchestrate.pipelines import TAP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.emulator.control import Emulator
    from tests.orchestrate.pipelines import Pipelines

PROGRAM = ROOT / ".airflow" / "venv" / "bin" / "airflow"
TIMEOUT_SECS = 300


@pytest.fixture
def airflow(pipelines: Pipelines, tmp_path: Path) -> Callable[..., str]:
    """A command of an Airflow whose database is empty, and whose DAGs are those of the folder."""
    (pipelines.root / "orchestrate").symlink_to(ROOT / "orchestrate")
    env = {
        **pipelines.variables,
        "TAP_WORKATO_STREAMS_TAIL": "false",
        "MELTANO_PROJECT_ROOT": str(pipelines.root),
        "PATH": f"{PROGRAM.parent}:{pipelines.variables['PATH']}",
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestrate" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        "no_proxy": f"{os.environ.get('no_proxy', '')},127.0.0.1,localhost",
    }

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [PROGRAM, *arguments],
            cwd=tmp_path,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=TIMEOUT_SECS,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    run("db", "migrate")
    return run


@pytest.mark.usefixtures("last_message")
def test_a_task_loads_the_topic(
    airflow: Callable[..., str], pipelines: Pipelines, emulator: Emulator
) -> None:
    """The DAG is parsed without an error and has a task per plugin, which loads all messages."""
    assert "No data found" in airflow("dags", "list-import-errors", "--local")
    airflow("pools", "set", "event_streams", "2", "Pipelines that share the quota")
    assert airflow("tasks", "list", "event_streams").split()[-1] == TAP
    output = airflow("dags", "test", "event_streams")
    assert pipelines.rows() == {message.message_id for message in emulator.messages(TOPIC_ID)}, (
        output
    )
    assert "state=success" in output
