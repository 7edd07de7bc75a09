"""The checks of `make check-live` pass with the emulator."""

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

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
    assert len(findings) == 20


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


def test_messages_that_become_readable_in_another_order_are_noticed(api, emulator, monkeypatch):
    """A batch that is stored in another order is, too."""
    monkeypatch.setattr(publish_checks, "READABLE_SECS", 1)
    emulator.deviate(api.topic_id, reverse_batches=True, readable_after_secs=0.3)
    finding = publish_checks.order_of_reading(api)
    assert re.fullmatch(r"100 of 100 messages in \d pages, NOT in order", finding.seen)
    emulator.deviate(api.topic_id)
    consume = Api.consume

    def consume_without_one(self: Api, **wish: Any) -> SimpleNamespace:  # noqa: ANN401 - any JSON
        page = consume(self, **wish).json()
        page["messages"] = [each for each in page["messages"] if each["payload"]["n"] != 7]
        return SimpleNamespace(ok=True, json=lambda: page)

    monkeypatch.setattr(Api, "consume", consume_without_one)
    finding = publish_checks.order_of_reading(api)
    assert not finding.same
    assert finding.seen.startswith("99 of 100 messages")


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
