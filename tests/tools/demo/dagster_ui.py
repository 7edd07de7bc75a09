"""`make dagster`: the demo's topic as an asset in Dagster's web UI, on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

from tests.tools.demo import orders
from tests.tools.demo.interrupts import exit_on_signals, signals_delayed
from tests.tools.demo.project import MELTANO, Project
from tests.tools.demo.services import ROOT, TOPIC_ID, Services, services

PORT = 3000
FOLDER = ROOT / "orchestrate" / "dagster"


def main() -> None:
    """Run the UI until a signal arrives."""
    exit_on_signals()
    with services() as running:
        emulator = running.emulator
        emulator.load(TOPIC_ID, (orders.to_json(order).encode() for order in orders.orders()))
        print("meltano install", flush=True)
        Project(ROOT, running.variables | running.temporary_state).meltano("install")
        print(
            f"Dagster is running at http://127.0.0.1:{PORT}; stop it with Ctrl-C.\n"
            "To publish a message:\n"
            f"curl -H 'Authorization: Bearer {emulator.token}'"
            f' -d \'{{"order_id": "ORD-001051"}}\' {emulator.url}/api/v1/topics/{TOPIC_ID}/publish',
            flush=True,
        )
        _run_dagster(running)


def _run_dagster(running: Services) -> None:
    home = running.folder / "dagster"
    home.mkdir()
    shutil.copy(FOLDER / "dagster.yaml", home)
    variables = {
        **running.variables,
        **running.temporary_state,
        "DAGSTER_HOME": str(home),
        "PATH": f"{MELTANO.parent}:{os.environ['PATH']}",
    }
    dagster = subprocess.Popen(
        [
            *(sys.executable, "-m", "dagster", "dev", "--host=127.0.0.1", f"--port={PORT}"),
            f"--python-file={FOLDER / 'definitions.py'}",
        ],
        cwd=ROOT,
        env={**os.environ, **variables},
        start_new_session=True,
    )
    try:
        dagster.wait()
    finally:
        with signals_delayed():
            dagster.send_signal(signal.SIGINT)
            dagster.wait()


if __name__ == "__main__":
    main()
