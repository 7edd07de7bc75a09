"""`orchestrate/dagster/` with real pipelines: `make test-dagster`."""

import importlib
import os
import signal
import subprocess
import sys
import threading
from types import ModuleType
from typing import Any

import dagster as dg
import pytest
import yaml

from tests.pipelines.orchestration import TAP, Pipelines, wait_until_tailing
from tests.tools.demo.services import ROOT, TOPIC_ID

FOLDER = ROOT / "orchestrate" / "dagster"
OP = "tap_workato_streams"

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.timeout(600)]


@pytest.fixture
def module(pipelines: Pipelines, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with the definitions, loaded for the project of these tests."""
    variables = {**pipelines.variables, "MELTANO_PROJECT_ROOT": str(pipelines.root)}
    for name, text in variables.items():
        monkeypatch.setenv(name, text)
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.delitem(sys.modules, "definitions", raising=False)
    return importlib.import_module("definitions")


@pytest.fixture
def instance() -> Any:  # noqa: ANN401 - Dagster is not installed where types are checked
    """A new Dagster instance for each test."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def last_metadata(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Return the metadata of the last materialization of `orders`."""
    event = instance.get_latest_materialization_event(dg.AssetKey("orders"))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def test_a_topic_is_an_asset(module, instance, pipelines, emulator, last_message):
    backlog = module.defs.get_sensor_def("backlog")

    def requested() -> list[str]:
        context = dg.build_sensor_context(instance, definitions=module.defs)
        return [request.job_name for request in backlog(context)]

    assert requested() == [f"load_{OP}"]
    job = module.defs.get_job_def(f"load_{OP}")
    assert job.all_node_defs[0].pools == {"event_streams"}
    assert job.execute_in_process(instance=instance).success
    assert pipelines.rows() == {message.message_id for message in emulator.messages(TOPIC_ID)}
    metadata = {"messages": 120, "lag_secs": 0, "message_id": last_message}
    assert metadata.items() <= last_metadata(instance).items()
    assert requested() == []
    emulator.load(TOPIC_ID, [{"order_id": 121}])
    assert requested() == [f"load_{OP}"]


def test_a_terminated_run_stores_its_state(module, instance, emulator, last_message):
    def terminate() -> None:
        wait_until_tailing(emulator)
        # Like Dagster's UI: mark the run as canceling, then send a signal to its process.
        [run] = instance.get_runs()
        instance.report_run_canceling(run)
        os.kill(os.getpid(), signal.SIGTERM)

    terminating = threading.Thread(target=terminate)
    terminating.start()
    job = module.defs.get_job_def(f"load_{OP}")
    config = dg.RunConfig({OP: module.Options(tail=True)})
    job.execute_in_process(instance=instance, run_config=config, raise_on_error=False)
    terminating.join()
    [run] = instance.get_runs()
    assert run.status == dg.DagsterRunStatus.CANCELED
    metadata = {"lag_secs": 0, "message_id": last_message}
    assert metadata.items() <= last_metadata(instance).items()


def test_the_pool_limits_how_many_pipelines_run(tmp_path, emulator):
    """With a limit of 1, two runs do not overlap; a script replaces Meltano."""
    names = ("orders", "returns")
    taps: list[dict[str, Any]] = [{"name": TAP}]
    for name in names:
        topics = [{"id": emulator.create_topic(name), "name": name}]
        taps.append({"name": f"tap-{name}", "inherit_from": TAP, "config": {"topics": topics}})
    project = {"default_environment": "dev", "plugins": {"extractors": taps}}
    (tmp_path / "meltano.yml").write_text(yaml.safe_dump(project), encoding="utf-8")
    log = tmp_path / "log"
    meltano = f"echo start >>{log}; sleep 2; echo end >>{log}"
    script = f'#!/bin/sh\ncase "$*" in run*) {meltano} ;; *) echo "{{}}" ;; esac\n'
    (tmp_path / "meltano").write_text(script, encoding="utf-8")
    (tmp_path / "meltano").chmod(0o755)
    settings = (FOLDER / "dagster.yaml").read_text(encoding="utf-8")
    limited = settings.replace("default_limit: 2", "default_limit: 1")
    assert limited != settings
    (tmp_path / "dagster.yaml").write_text(limited, encoding="utf-8")
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "DAGSTER_HOME": str(tmp_path),
        "MELTANO_PROJECT_ROOT": str(tmp_path),
        "EVENT_STREAMS_URL": emulator.url,
        "WORKATO_API_TOKEN": emulator.token,
    }

    def dagster(*arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dagster", *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    assert dagster("instance", "info").wait() == 0
    file = f"--python-file={FOLDER / 'definitions.py'}"
    runs = [dagster("job", "execute", file, f"--job=load_tap_{name}") for name in names]
    assert [run.wait() for run in runs] == [0, 0]
    assert log.read_text(encoding="utf-8").split() == ["start", "end", "start", "end"]


LIST: list[Any] = [{"id": 11, "name": "orders"}, {"id": 12}]


@pytest.mark.parametrize(
    ("parents", "own", "expected"),
    [
        ([{"id": 1}], LIST, {"orders": 11, "topic_12": 12}),
        (None, {"orders": 11, "returns": {"id": 12}}, {"orders": 11, "returns": 12}),
        ([{"id": 1}], {"orders": 11}, {"orders": 11}),
        # Meltano merges two objects.
        ({"first": 1}, {"orders": 11}, {"first": 1, "orders": 11}),
        ({"first": 1}, None, {"first": 1}),
        (LIST, None, {"orders": 11, "topic_12": 12}),
    ],
)
def test_each_inherited_plugin_is_an_op(module, parents, own, expected):
    """Its topics are assets; those of its parent are not, unless it inherits them."""
    base = {"name": TAP, "config": {"topics": parents} if parents else {}}
    orders = {
        "name": f"{TAP}--orders",
        "inherit_from": TAP,
        "config": {"topics": own} if own else {},
    }
    project = {"plugins": {"extractors": [base, orders, {"name": "tap-jsonl"}]}}
    [pipeline] = module.read_pipelines(project)
    assert pipeline.name == "tap_workato_streams__orders"
    assert {topic.name: topic.id for topic in pipeline.topics} == expected
    if parents:
        [pipeline] = module.read_pipelines({"plugins": {"extractors": [base]}})
        assert pipeline.name == "tap_workato_streams"
