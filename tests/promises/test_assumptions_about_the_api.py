"""The checks of `make check-live` pass with the emulator."""

import copy
import os
import pty
import re
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.support.executables import environment
from tests.tools.docs import TAP, TARGET
from tests.tools.live import __main__ as check_live
from tests.tools.live import publish_checks
from tests.tools.live.api import Api
from tests.tools.live.checks import run
from tests.tools.live.description import EXPECTED, differences
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
    assert len(findings) == 21


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


CONSUME = "POST /api/v1/topics/{}/consume"
CONSUMED = ("paths", "/topics/{topic_id}/consume", "post")
BODY = ("content", "application/json", "schema")
FIELDS = (*CONSUMED, "requestBody", *BODY, "properties")
MESSAGE = ("components", "schemas", "Message")
BATCH = "POST /api/v1/batch/topics/{}/publish"
BATCHES = ("paths", "/batch/topics/{topic_id}/publish", "post", "requestBody", *BODY)
SIZE = f"{CONSUME}, request.batch_size: NOT the same: integer, minimum 1"
REMOVED = object()


@pytest.mark.parametrize(
    ("keys", "value", "line"),
    [
        (("servers", 0, "url"), "https://example.com/api/v2", None),
        (CONSUMED[:2], REMOVED, f"{CONSUME}: NOT the same: missing; assumed: described"),
        (
            ("paths", "/topics/{topic_id}/delete"),
            {"post": {"responses": {}}},
            "POST /api/v1/topics/{}/delete: NOT the same: described; assumed: not known",
        ),
        (
            (*CONSUMED, "parameters", 0),
            {"name": "topic", "in": "path", "schema": {"type": "integer"}},
            f"{CONSUME}, path parameter: NOT the same: integer; assumed: integer, required",
        ),
        (
            (*CONSUMED, "parameters", 1),
            {"name": "page", "in": "query", "schema": {"type": "integer"}},
            f"{CONSUME}, query parameter page: NOT the same: integer; assumed: not known",
        ),
        (
            (*FIELDS, "batch_size", "maximum"),
            100,
            f"{SIZE}, maximum 100; assumed: integer, minimum 1, maximum 50",
        ),
        (
            (*FIELDS, "since_time"),
            REMOVED,
            f"{CONSUME}, request.since_time: NOT the same: missing; assumed: string",
        ),
        (
            (*CONSUMED, "requestBody", *BODY, "required"),
            ["since_time"],
            f"{CONSUME}, request.since_time: NOT the same: string, required; assumed: string",
        ),
        (
            (*BATCHES, "allOf"),
            [{"properties": {"mode": {"type": "string"}}, "required": ["mode"]}],
            f"{BATCH}, request.mode: NOT the same: string, required; assumed: not known",
        ),
        (
            (*CONSUMED, "responses", "429"),
            REMOVED,
            f"{CONSUME}, status 429: NOT the same: missing; assumed: described",
        ),
        (
            (*CONSUMED, "responses", "410"),
            {"description": "The message has expired"},
            f"{CONSUME}, status 410: NOT the same: described; assumed: not known",
        ),
        (
            (*MESSAGE, "properties", "time"),
            {"type": "integer"},
            f"{CONSUME}, response.messages[].time: NOT the same: integer; assumed: string",
        ),
        (
            (*MESSAGE, "properties", "key"),
            {"type": "string"},
            f"{CONSUME}, response.messages[].key: NOT the same: string; assumed: not known",
        ),
    ],
)
def test_a_change_of_the_description_is_one_line(emulator, keys, value, line):
    """A description that moves to another base path changes all of its paths."""
    url = f"{emulator.url}/api/v1/openapi.json"
    document = copy.deepcopy(requests.get(url, timeout=30).json())
    *path, last = keys
    part = document
    for key in path:
        part = part[key]
    if value is REMOVED:
        del part[last]
    elif isinstance(part, list):
        part[last:] = [value]
    else:
        part[last] = value
    lines = [finding.line() for finding in differences(document)]
    if line is None:
        assert len(lines) == 2 * len(EXPECTED)
    else:
        assert lines == [line]


def test_the_connectors_send_what_the_expected_limits_allow():
    request = EXPECTED[CONSUME]
    for name, setting in (("batch_size", TAP), ("timeout_secs", TAP)):
        maximum = setting.settings["properties"][name]["maximum"]
        assert request[f"request.{name}"].endswith(f", maximum {maximum}")
    payloads = EXPECTED[BATCH]["request.payloads"]
    maximum = TARGET.settings["properties"]["batch_size_rows"]["maximum"]
    assert payloads.endswith(f", maxItems {maximum}")


@pytest.mark.parametrize("has_description", [True, False])
def test_the_number_of_messages_is_said_before(api, emulator, has_description, monkeypatch, capsys):
    monkeypatch.setattr(check_live, "PAUSE_SECS", 0)
    monkeypatch.setattr(sys, "argv", ["check-live", "--yes"])
    for name, value in variables_for(api).items():
        monkeypatch.setenv(name, value)
    if not has_description:
        emulator.fault("status", operation="other", status=404)
    assert check_live.main() == int(not has_description)
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first.startswith(f"This publishes up to {check_live.MESSAGES} messages to the topic ")
    # The emulator rejects three of them.
    assert len(emulator.messages(api.topic_id)) == check_live.MESSAGES - 3
    failed = "description: NOT the same: failed with 404; assumed: can be checked"
    assert second == ("OpenAPI description: same" if has_description else failed)


def variables_for(api: Api) -> dict[str, str]:
    """The variables that `make check-live` reads."""
    return {
        "WORKATO_API_TOKEN": api.token,
        "WORKATO_TOPIC_ID": str(api.topic_id),
        "WORKATO_API_URL": api.url,
    }


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_nothing_is_published_unasked(api, emulator, on_a_terminal):
    terminal, stdin = pty.openpty() if on_a_terminal else (None, subprocess.DEVNULL)
    if terminal is not None:
        os.write(terminal, b"n\n")
    done = subprocess.run(
        [sys.executable, "-m", "tests.tools.live"],
        env=environment(**variables_for(api)),
        stdin=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    words = "Publish? [y/N]" if on_a_terminal else "use make check-live CHECKS=--yes"
    assert words in done.stdout + done.stderr
    assert (done.returncode, emulator.requests()) == (1 if on_a_terminal else 2, [])


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
