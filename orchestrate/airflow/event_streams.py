"""Topics of Workato Event Streams as an Airflow DAG, loaded by Meltano.

Copy this file to the DAGs folder, and create the pool, which limits how many pipelines run
concurrently:

    airflow pools set event_streams 2 'Pipelines that share the quota of a workspace'

Each plugin that inherits from tap-workato-streams becomes one task, since it is one process. Each
of its topics is an asset. Without such plugins, there is one task for tap-workato-streams.

meltano must be in PATH. Environment variables, in addition to those in meltano.yml:

- MELTANO_PROJECT_ROOT: the Meltano project, which contains orchestrate/run.sh
- PIPELINE_LOADER: the loader, by default target-postgres
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import yaml
from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, Asset

PROJECT = Path(os.environ["MELTANO_PROJECT_ROOT"])
LOADER = os.environ.get("PIPELINE_LOADER") or "target-postgres"
BASE = "tap-workato-streams"

with DAG(
    "event_streams",
    description="Load topics of Workato Event Streams with Meltano",
    schedule=timedelta(minutes=15),
    start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
    # A run reads all new messages, so missed runs need not be repeated. Meltano does not start a
    # second run of a pipeline that is still running.
    catchup=False,
    max_active_runs=1,
) as dag:
    extractors = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))["plugins"][
        "extractors"
    ]
    [base] = [plugin for plugin in extractors if plugin["name"] == BASE]
    for tap in [plugin for plugin in extractors if plugin.get("inherit_from") == BASE] or [base]:
        inherited, own = (plugin.get("config", {}).get("topics") for plugin in (base, tap))
        topics = own or inherited
        if isinstance(topics, list):
            topics = {each.get("name", f"topic_{each['id']}"): each["id"] for each in topics}
        elif isinstance(inherited, dict):
            # Meltano merges an object with that of the parent.
            topics = {**inherited, **topics}
        BashOperator(
            task_id=tap["name"],
            # With exec, the signal that ends a task goes to run.sh, which stops the tap. Airflow
            # kills the task 5 seconds later. run.sh and Meltano have their own sessions, so they
            # continue until the state is stored.
            bash_command=f'exec "{PROJECT}/orchestrate/run.sh" {tap["name"]} {LOADER}',
            cwd=str(PROJECT),
            append_env=True,
            pool="event_streams",
            retries=2,
            # After a run that was killed, Meltano does not start the pipeline for 5 minutes.
            retry_delay=timedelta(minutes=6),
            outlets=[
                Asset(
                    name=name,
                    uri="x-event-streams://topics/"
                    f"{topic['id'] if isinstance(topic, dict) else topic}",
                )
                for name, topic in topics.items()
            ],
        )
