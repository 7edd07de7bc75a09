"""A setting that needs an optional library names the extra if the library is missing."""

import pytest

from tests.support.executables import run, write_json
from tests.tools.docs import TAP, TARGET

CONNECTORS = pytest.mark.parametrize("connector", [TAP, TARGET], ids=lambda one: one.name)


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
