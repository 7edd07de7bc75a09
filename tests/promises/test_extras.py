"""A setting that needs an optional library names the extra if the library is missing."""

import json
from importlib.metadata import metadata
from types import SimpleNamespace

import pytest
from tap_workato_streams.plugin import config as config_check
from tap_workato_streams.plugin.config import problems

from tests.support.executables import run, write_json
from tests.tools.docs import ROOT, TAP, TARGET

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
    install = f"change the pip_url of tap-workato-streams to -e {ROOT}/tap-workato-streams[{extra}]"
    expected = [f"{line}; {install} and run meltano install"] if line else []
    assert problems(config, {"properties": {}}) == expected


SOURCES = [
    ({}, "tap-workato-streams[redis]"),
    ({"url": "file:///a%20b/tap", "dir_info": {}}, "/a b/tap[redis]"),
    ({"url": "file:///a/tap", "dir_info": {"editable": True}}, "-e /a/tap[redis]"),
    ({"url": "https://h/t.whl", "archive_info": {}}, "tap-workato-streams[redis]@https://h/t.whl"),
    (
        {
            "url": "https://h/repo",
            "vcs_info": {"vcs": "git", "requested_revision": "main", "commit_id": "0" * 40},
            "subdirectory": "tap-workato-streams",
        },
        "tap-workato-streams[redis]@git+https://h/repo@main#subdirectory=tap-workato-streams",
    ),
]


@pytest.mark.parametrize(("source", "pip_url"), SOURCES)
def test_the_error_names_the_source_that_was_installed(source, pip_url, monkeypatch):
    """A package of this name from another source might not be this connector."""
    installed = SimpleNamespace(read_text=lambda _: json.dumps(source) if source else None)
    monkeypatch.setattr(config_check, "find_spec", lambda _: None)
    monkeypatch.setattr(config_check, "distribution", lambda _: installed)
    [line] = problems(
        {"max_requests_per_minute": 60, "quota_url": "redis://localhost"}, {"properties": {}}
    )
    assert f"to {pip_url} and run meltano install" in line


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
    install = f"change the pip_url of {connector.name} to -e {ROOT / connector.name}[{extra}]"
    assert f"{line}; {install}" in outcome.stderr
