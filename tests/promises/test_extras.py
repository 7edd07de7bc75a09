"""A setting that needs an optional library names the extra if the library is missing."""

from importlib.metadata import metadata

import pytest
from tap_workato_streams.plugin import config as config_check
from tap_workato_streams.plugin.config import problems

from tests.support.executables import run, write_json
from tests.tools.docs import TAP, TARGET

EXTRAS = {"faker", "metrics", "postgres", "redis"}
CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)


@pytest.mark.parametrize(("connector", "own"), [(TAP, set()), (TARGET, {"s3"})])
def test_extras_of_both_connectors(connector, own):
    """Each optional library has an extra. Only the target reads batch files, also from S3."""
    assert {*(metadata(connector.name).get_all("Provides-Extra") or ())} == EXTRAS | own


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"metrics_address": "127.0.0.1:9464"}, "metrics_address: needs the extra metrics"),
        ({"quota_url": "redis://localhost"}, "quota_url: redis:// needs the extra redis"),
        ({"quota_url": "rediss://localhost"}, "quota_url: rediss:// needs the extra redis"),
        ({"quota_url": "postgresql://host"}, "quota_url: postgresql:// needs the extra postgres"),
        ({"quota_url": "file:///tmp/quota.db"}, ""),
    ],
)
def test_an_extra_that_the_tests_have_installed(settings, line, monkeypatch):
    """Metrics and the servers of a shared quota need a library; a file does not."""
    monkeypatch.setattr(config_check, "find_spec", lambda _: None)
    config = {"max_requests_per_minute": 60, **settings}
    extra = line.rpartition(" ")[2]
    install = f"add [{extra}] to the pip_url of tap-workato-streams and run meltano install"
    expected = [f"{line}; {install}"] if line else []
    assert problems(config, {"properties": {}}) == expected


@CONNECTORS
@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"faker_config": {"seed": 1}}, "faker_config: needs the extra faker"),
        ({"stream_maps": {"o": {"n": "fake.name()"}}}, "stream_maps: fake needs the extra faker"),
    ],
    ids=["faker", "fake"],
)
def test_a_missing_extra_is_a_setting_error(connector, settings, line, tmp_path):
    topics = [{"id": 11}] if connector is TAP else {"orders": 11}
    config = write_json(tmp_path / "c.json", {"api_token": "t", "topics": topics, **settings})
    outcome = run(connector.name, "--config", config)
    assert outcome.exit_code == 1
    extra = line.rpartition(" ")[2]
    install = f"add [{extra}] to the pip_url of {connector.name} and run meltano install"
    assert f"{line}; {install}" in outcome.stderr
