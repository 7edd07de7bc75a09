"""Topics of Workato Event Streams as Dagster assets, loaded by Meltano.

    DAGSTER_HOME=... dagster dev -f orchestrate/dagster/definitions.py

Each plugin that inherits from tap-workato-streams becomes one op with a job and a schedule, since
it is one process. Each of its topics is an asset. Without such plugins, there is one op for
tap-workato-streams. Copy dagster.yaml to DAGSTER_HOME: it limits how many pipelines run
concurrently.

meltano must be in PATH. Environment variables, in addition to those in meltano.yml:

- MELTANO_PROJECT_ROOT: the Meltano project, by default the repository that contains this file
- PIPELINE_LOADER: the loader, by default target-postgres
- EVENT_STREAMS_URL, WORKATO_API_TOKEN: the API, for the lag and the sensor `backlog`
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import requests
import yaml

RUN_SH = Path(__file__).parents[1] / "run.sh"
PROJECT = Path(os.environ.get("MELTANO_PROJECT_ROOT") or Path(__file__).parents[2])
LOADER = os.environ.get("PIPELINE_LOADER") or "target-postgres"
BASE = "tap-workato-streams"
REQUEST_TIMEOUT_SECS = 30

# The last line that the tap logs about a topic: orders (topic 11): 1050 messages, 22 requests, ...
SUMMARY = re.compile(r"(\S+) \(topic \d+\): (\d+) messages?, \d+ requests?, ")


@dataclass(frozen=True)
class Topic:
    """A topic, and the name of its stream, its table and its asset."""

    id: int
    name: str


@dataclass(frozen=True)
class Pipeline:
    """A tap, and the topics that it reads."""

    tap: str
    topics: tuple[Topic, ...]

    @property
    def name(self) -> str:
        """The tap's name in the form that Dagster allows for ops and jobs."""
        return self.tap.replace("-", "_")


class Options(dg.Config):
    """How to run a pipeline; shown in the launchpad."""

    # Keeps reading until the run is terminated. Do not combine this with a retry policy: it would
    # start a terminated run again.
    tail: bool = False


def read_pipelines(project: dict[str, Any]) -> list[Pipeline]:
    """Return the pipelines of a Meltano project, given the content of its meltano.yml."""
    plugins = project["plugins"]["extractors"]
    [base] = [plugin for plugin in plugins if plugin["name"] == BASE]
    taps = [plugin for plugin in plugins if plugin.get("inherit_from") == BASE] or [base]
    return [Pipeline(tap["name"], _topics(base, tap)) for tap in taps]


def _topics(base: dict[str, Any], tap: dict[str, Any]) -> tuple[Topic, ...]:
    inherited, own = (plugin.get("config", {}).get("topics") for plugin in (base, tap))
    topics = own or inherited
    if isinstance(topics, list):
        return tuple(Topic(each["id"], each.get("name", f"topic_{each['id']}")) for each in topics)
    # Meltano merges an object with that of the parent.
    named = {**(inherited if isinstance(inherited, dict) else {}), **topics}
    return tuple(
        Topic(each["id"] if isinstance(each, dict) else each, name) for name, each in named.items()
    )


def oldest_unread(topic: Topic, message_id: str | None) -> dict[str, Any] | None:
    """Return the topic's first message after this one, with one request."""
    position = {"after_message_id": message_id} if message_id else {}
    response = requests.post(
        f"{os.environ['EVENT_STREAMS_URL']}/api/v1/topics/{topic.id}/consume",
        json={"batch_size": 1, **position},
        headers={"Authorization": f"Bearer {os.environ['WORKATO_API_TOKEN']}"},
        timeout=REQUEST_TIMEOUT_SECS,
    )
    response.raise_for_status()
    messages: list[dict[str, Any]] = response.json()["messages"]
    return messages[0] if messages else None


def read_bookmarks(pipeline: Pipeline, project: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the bookmarks in the state that Meltano has stored, by stream."""
    environment = os.environ.get("MELTANO_ENVIRONMENT") or project["default_environment"]
    command = ["meltano", f"--environment={environment}", "state", "get"]
    state = subprocess.run(
        [*command, f"{environment}:{pipeline.tap}-to-{LOADER}"],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    bookmarks: dict[str, dict[str, Any]] = (
        json.loads(state or "{}").get("singer_state", {}).get("bookmarks", {})
    )
    return bookmarks


def loaded_up_to(instance: dg.DagsterInstance, topic: Topic) -> str | None:
    """Return the id of the last message that is loaded, according to the asset's last event."""
    event = instance.get_latest_materialization_event(dg.AssetKey(topic.name))
    materialization = event and event.asset_materialization
    if not materialization:
        return None
    return str(materialization.metadata["message_id"].value) or None


class Run:
    """One run of a pipeline, and the number of messages per topic that it has read."""

    def __init__(self, pipeline: Pipeline, options: Options) -> None:
        tail = f"{pipeline.name.upper()}_TAIL"
        self.messages: dict[str, int] = {}
        self._process = subprocess.Popen(
            [RUN_SH, pipeline.tap, LOADER],
            cwd=PROJECT,
            env={**os.environ, tail: json.dumps(options.tail)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Otherwise Ctrl-C in the terminal of `dagster dev` would be a second signal for run.sh.
            start_new_session=True,
        )

    def wait(self) -> int:
        """Show the log until the end of the run, and return the exit code."""
        for line in self._process.stdout or ():
            sys.stdout.write(line)  # Dagster keeps it as the run's log.
            if summary := SUMMARY.search(line):
                self.messages[summary[1]] = int(summary[2])
        self._process.communicate()  # Waits, and closes the pipe.
        return self._process.returncode

    def stop(self) -> int:
        """End the run so that its last state is stored, and return the exit code."""
        self._process.terminate()
        return self.wait()


def describe(topic: Topic, messages: int, bookmark: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata of a materialization."""
    message_id = bookmark.get("replication_key_value")
    lag = 0.0
    if unread := oldest_unread(topic, message_id):
        since = datetime.fromisoformat(unread["time"])
        lag = (datetime.now(timezone.utc) - since).total_seconds()
    return {
        "messages": messages,
        # Age of the oldest message that is not loaded yet.
        "lag_secs": round(lag, 1),
        "message_id": message_id or "",
        "message_time": bookmark.get("message_time") or "",
    }


def define_asset(pipeline: Pipeline, project: dict[str, Any]) -> dg.AssetsDefinition:
    """Return the op of a pipeline, which materializes its topics."""

    def results(run: Run) -> Iterator[tuple[dg.AssetKey, dict[str, Any]]]:
        bookmarks = read_bookmarks(pipeline, project)
        for topic in pipeline.topics:
            bookmark = bookmarks.get(topic.name, {})
            messages = run.messages.get(topic.name, 0)
            yield dg.AssetKey(topic.name), describe(topic, messages, bookmark)

    @dg.multi_asset(
        name=pipeline.name,
        specs=[
            dg.AssetSpec(
                topic.name,
                description=f"Messages of topic {topic.id}, loaded by {pipeline.tap} and {LOADER}.",
                kinds={"meltano"},
                group_name="event_streams",
            )
            for topic in pipeline.topics
        ],
        pool="event_streams",
    )
    def load(
        context: dg.AssetExecutionContext, config: Options
    ) -> Iterator[dg.MaterializeResult[None]]:
        run = Run(pipeline, config)
        try:
            code = run.wait()
        except dg.DagsterExecutionInterruptedError:
            if run.stop() == 0:
                for key, metadata in results(run):
                    context.log_event(dg.AssetMaterialization(key, metadata=metadata))
            raise
        if code:
            raise dg.Failure(f"{pipeline.tap}: exit code {code}; see the run's log (stdout)")
        for key, metadata in results(run):
            yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return load


def define() -> dg.Definitions:
    """Return assets, jobs, schedules and the sensor."""
    project = yaml.safe_load((PROJECT / "meltano.yml").read_text(encoding="utf-8"))
    pipelines = read_pipelines(project)
    assets = {pipeline: define_asset(pipeline, project) for pipeline in pipelines}
    # In dagster.yaml, runs with the same tag wait for one another. Meltano would not start both.
    jobs = {
        pipeline: dg.define_asset_job(
            f"load_{pipeline.name}", selection=[asset], tags={"pipeline": pipeline.tap}
        )
        for pipeline, asset in assets.items()
    }

    @dg.sensor(jobs=list(jobs.values()), minimum_interval_seconds=60)
    def backlog(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest]:
        """Start a pipeline that has unread messages: one request per topic and evaluation."""
        for pipeline, job in jobs.items():
            for topic in pipeline.topics:
                if unread := oldest_unread(topic, loaded_up_to(context.instance, topic)):
                    # Once per message: the run is not requested again while it lasts.
                    run_key = f"{topic.id}:{unread['message_id']}"
                    yield dg.RunRequest(run_key, job_name=job.name)
                    break

    return dg.Definitions(
        assets=list(assets.values()),
        jobs=list(jobs.values()),
        schedules=[
            dg.ScheduleDefinition(job=job, cron_schedule="*/15 * * * *") for job in jobs.values()
        ],
        sensors=[backlog],
    )


defs = define()
