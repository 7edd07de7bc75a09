"""`meltano.yml` is a valid Meltano project."""

import json

import jsonschema
import pytest
import yaml

from tests.tools.demo.project import MeltanoFailedError
from tests.tools.docs import MELTANO_SCHEMA, ROOT

CONTENT = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))


def test_it_satisfies_meltanos_schema():
    """Meltano exits with 0 even if there are schema errors, so they would not be noticed."""
    assert list(jsonschema.Draft202012Validator(MELTANO_SCHEMA).iter_errors(CONTENT)) == []


def test_nothing_is_sent_anywhere():
    assert CONTENT["send_anonymous_usage_stats"] is False
    assert CONTENT["cli"]["disable_version_check"] is True


def test_jobs_and_schedule_can_be_run(project):
    jobs = json.loads(project.meltano("job", "list", "--format=json"))["jobs"]
    names = [job["job_name"] for job in jobs]
    assert sorted(names) == ["orders-to-topic", "topic-to-warehouse"]
    schedules = json.loads(project.meltano("schedule", "list", "--format=json"))["schedules"]
    assert [job["job"]["name"] for job in schedules["job"]] == ["topic-to-warehouse"]
    variables = {"WORKATO_API_TOKEN": "a token", "WAREHOUSE_URL": "postgresql://somewhere"}
    project.meltano("run", "--dry-run", *names, variables=variables)


def test_an_unset_variable_is_reported(project):
    """An empty string would make the run use the wrong service."""
    with pytest.raises(MeltanoFailedError, match="'WAREHOUSE_URL' referenced but not set"):
        project.meltano("run", "tap-workato-streams", "target-postgres")
