"""The checks of `make check-live` pass with the emulator."""

import re
import subprocess
import sys

import pytest

from tests.support.executables import environment
from tests.tools.live import publish_checks
from tests.tools.live.api import Api
from tests.tools.live.checks import run
from tests.tools.live.finding import table

SCHEMA = [
    {"name": "n", "type": "integer", "optional": False},
    {"name": "data", "type": "string", "optional": True},
]


@pytest.fixture
def api(emulator):
    """A topic that meets the requirements of the checks."""
    return Api(emulator.url, emulator.token, emulator.create_topic("checks", schema=SCHEMA))


@pytest.mark.parametrize("rejection", ["partial", "status"])
def test_emulator_behaves_as_the_connectors_assume(api, emulator, rejection):
    emulator.configure(rejection=rejection, quota_per_minute=200)
    findings = list(run(api, use_up_quota=True))
    assert [finding for finding in findings if not finding.same] == []
    assert len(findings) == 19


def test_differences_are_reported(api, emulator):
    emulator.configure(expired_status=500, quota_per_minute=2)
    findings = {finding.subject: finding for finding in run(api, use_up_quota=False)}
    assert not findings["unknown after_message_id"].same
    assert not findings["page sizes"].same
    assert "429" in findings["page sizes"].seen
    shown = table([findings["page sizes"]]).splitlines()[2]
    assert shown.startswith("page sizes ")
    assert shown.endswith("NO")


@pytest.mark.parametrize(
    "deviation", [{"readable_after_secs": 1}, {"publish_ids_are_positions": False}]
)
def test_what_exactly_once_assumes_is_checked(api, emulator, deviation, monkeypatch):
    monkeypatch.setattr(publish_checks, "READABLE_SECS", 0.5)
    emulator.deviate(api.topic_id, **deviation)
    finding = publish_checks.id_is_a_cursor(api)
    assert finding.subject == "acknowledged id is a cursor"
    assert not finding.same
    assert re.fullmatch(r"(not )?after \d+(\.\d)? s", finding.seen)


@pytest.mark.parametrize(
    ("variables", "exit_code", "words"),
    [
        ({"WORKATO_API_TOKEN": ""}, 0, "skipped: set WORKATO_API_TOKEN"),
        ({"WORKATO_TOPIC_ID": "orders"}, 2, "WORKATO_TOPIC_ID must be a number"),
        ({"WORKATO_DATA_CENTER": "moon"}, 2, "WORKATO_DATA_CENTER must be one of us, eu, "),
    ],
    ids=["no token", "topic", "data center"],
)
def test_variables_are_checked_before_the_first_request(variables, exit_code, words):
    """CI has no token, so that `make check-live` must not fail there."""
    valid = {"WORKATO_API_TOKEN": "t", "WORKATO_TOPIC_ID": "1", "WORKATO_API_URL": ""}
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.live"],
        env=environment(**{**valid, **variables}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == exit_code
    assert words in done.stdout + done.stderr
