"""The checks of `make check-live` pass with the emulator."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.executables import environment
from tests.tools.live import publish_checks
from tests.tools.live.api import Api
from tests.tools.live.checks import run
from tests.tools.live.finding import Finding, table

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

SCHEMA = [
    {"name": "n", "type": "integer", "optional": False},
    {"name": "data", "type": "string", "optional": True},
]


@pytest.fixture
def api(emulator: Emulator) -> Api:
    """A topic that meets the requirements of the checks."""
    return Api(emulator.url, emulator.token, emulator.create_topic("checks", schema=SCHEMA))


@pytest.mark.parametrize("rejection", ["partial", "status"])
def test_emulator_behaves_as_the_connectors_assume(api, emulator, rejection):
    """The checks pass with both ways in which the service may reject a message in a batch."""
    emulator.configure(rejection=rejection, quota_per_minute=200)
    findings = list(run(api, use_up_quota=True))
    assert [finding for finding in findings if not finding.same] == []
    assert len(findings) == 19


def test_differences_are_reported(api, emulator):
    """An assumption that does not hold is reported as a finding, not raised as an error."""
    emulator.configure(expired_status=500, quota_per_minute=2)
    findings = {finding.subject: finding for finding in run(api, use_up_quota=False)}
    assert not findings["unknown after_message_id"].same
    assert not findings["page sizes"].same
    assert "429" in findings["page sizes"].seen


@pytest.mark.parametrize(
    "deviation", [{"readable_after_secs": 6}, {"publish_ids_are_positions": False}]
)
def test_what_exactly_once_assumes_is_checked(api, emulator, deviation):
    """If a service deviates, `exactly_once` may duplicate or lose messages."""
    emulator.deviate(api.topic_id, **deviation)
    finding = publish_checks.id_is_a_cursor(api)
    assert finding.subject == "acknowledged id is a cursor"
    assert not finding.same
    assert re.fullmatch(r"(not )?after \d+(\.\d)? s", finding.seen)


def test_table_shows_each_finding():
    """A row has the assumption, the observation, and whether they match."""
    text = table([Finding("wrong token", "HTTP 401", "HTTP 403", same=False)])
    assert text.splitlines()[-1].split("  ")[0] == "wrong token"
    assert text.endswith("NO")


def check_live(**variables: str) -> subprocess.CompletedProcess[str]:
    """Run the checks with these variables."""
    return subprocess.run(
        [sys.executable, "-m", "tests.tools.live"],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_token_it_is_skipped_and_says_so():
    """CI has no token, and `make check-live` must not fail there."""
    done = check_live(WORKATO_API_TOKEN="", WORKATO_TOPIC_ID="")
    assert done.returncode == 0
    assert done.stdout.startswith("skipped: set WORKATO_API_TOKEN")


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"WORKATO_TOPIC_ID": "orders"}, "WORKATO_TOPIC_ID must be a number"),
        ({"WORKATO_DATA_CENTER": "moon"}, "WORKATO_DATA_CENTER must be one of us, eu, "),
    ],
)
def test_an_invalid_variable_is_named(variables, line):
    """The value of a variable is checked before the first request."""
    valid = {"WORKATO_API_TOKEN": "t", "WORKATO_TOPIC_ID": "1", "WORKATO_API_URL": ""}
    done = check_live(**{**valid, **variables})
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1]
