"""A pipeline continues where it was when it moves to another machine, as in orchestrate/."""

import re
import subprocess

import yaml

from tests.tools.console_blocks import blocks_of
from tests.tools.demo.services import ROOT, TOPIC_ID

FOLDER = ROOT / "orchestrate"
PIPELINE = ("run", "tap-workato-streams", "target-postgres")


def test_the_state_can_be_copied_to_another_backend(pipelines, emulator, last_message):
    """The page's command; a SQLite file stands for the PostgreSQL that a container uses."""
    once = {"TAP_WORKATO_STREAMS_TAIL": "false"}
    pipelines.meltano(*PIPELINE, variables=once)
    assert pipelines.position("target-postgres") == last_message
    other = f"sqlite:///{pipelines.root}/other.db"
    [command] = [
        block.text for block in blocks_of(FOLDER / "README.md") if "state set" in block.text
    ]
    command = re.sub(r"postgresql\S+", other, command)
    subprocess.run(command, shell=True, cwd=pipelines.root, env=pipelines.variables, check=True)  # noqa: S602 - our page
    emulator.clear_requests()
    pipelines.meltano(*PIPELINE, variables={**once, "MELTANO_DATABASE_URI": other})
    [request] = emulator.requests(topic_id=TOPIC_ID)
    assert last_message.encode() in request.body


def test_all_examples_use_the_environment_of_a_new_project():
    """Its name is part of a state's name, so a pipeline in another one starts over."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    assert project["default_environment"] == "dev"
    assert project["environments"] == [{"name": "dev"}]
    for path in FOLDER.rglob("*"):
        if path.is_file() and path.suffix in {"", ".yaml", ".sh", ".service", ".timer", ".py"}:
            assert not re.search(r"MELTANO_ENVIRONMENT(=|\n +value)", path.read_text("utf-8")), path


def test_a_run_of_the_cron_job_that_cannot_reach_the_service_ends_with_its_error():
    """Retries end before the limit of the run, which would end it without saying why."""
    job = yaml.safe_load((FOLDER / "kubernetes" / "cronjob.yaml").read_text(encoding="utf-8"))
    [container] = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    env = {variable["name"]: int(variable["value"]) for variable in container["env"]}
    retries, run = (f"TAP_WORKATO_STREAMS_MAX_{name}_SECS" for name in ("RETRY", "RUN"))
    assert env[retries] < env[run]
