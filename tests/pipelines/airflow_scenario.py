"""`orchestrate/airflow/` in a real Airflow, which has its own environment: `make test-airflow`."""

import os
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.pipelines.orchestration import TAP, Pipelines, tailing
from tests.tools.demo.services import ROOT, TOPIC_ID

pytestmark = pytest.mark.timeout(600)

PROGRAM = ROOT / ".airflow" / "venv" / "bin" / "airflow"
TIMEOUT_SECS = 300


def finish(process: subprocess.Popen[str]) -> str:
    """Wait until a command exits, check that it succeeded, and return its output."""
    output, _ = process.communicate(timeout=TIMEOUT_SECS)
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def airflow(
    pipelines: Pipelines, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., subprocess.Popen[str]]:
    """Start a command of Airflow, whose database is empty but for the pool that the DAG uses."""
    (pipelines.root / "orchestrate").symlink_to(ROOT / "orchestrate")
    home = tmp_path_factory.mktemp("airflow")
    env = {
        **pipelines.variables,
        "TAP_WORKATO_STREAMS_TAIL": "false",
        "MELTANO_PROJECT_ROOT": str(pipelines.root),
        "PATH": f"{PROGRAM.parent}:{pipelines.variables['PATH']}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(ROOT / "orchestrate" / "airflow"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "false",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "false",
        "no_proxy": f"{os.environ.get('no_proxy', '')},127.0.0.1,localhost",
    }

    def start(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [PROGRAM, *arguments],
            cwd=home,
            env={**env, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    finish(start("db", "migrate"))
    finish(start("pools", "set", "event_streams", "2", "Pipelines that share the quota"))
    return start


@pytest.mark.usefixtures("last_message")
def test_a_task_loads_the_topic(airflow, pipelines, emulator):
    assert "No data found" in finish(airflow("dags", "list-import-errors", "--local"))
    assert finish(airflow("tasks", "list", "event_streams")).split()[-1] == TAP
    output = finish(airflow("dags", "test", "event_streams"))
    assert "state=success" in output
    assert pipelines.rows() == {message.message_id for message in emulator.messages(TOPIC_ID)}


def test_a_task_that_is_stopped_stores_its_state(airflow, pipelines, emulator, last_message):
    task = airflow("dags", "test", "event_streams", TAP_WORKATO_STREAMS_TAIL="true")
    deadline = time.monotonic() + TIMEOUT_SECS
    while not tailing(emulator):
        assert task.poll() is None, finish(task)
        assert time.monotonic() < deadline
        time.sleep(0.5)
    task.send_signal(signal.SIGTERM)
    assert "run.sh: stopping the tap" in finish(task)
    assert pipelines.position("target-postgres") == last_message
