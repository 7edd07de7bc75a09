"""Settings from environment variables get the right type."""

import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from tests.pipelines.orchestration import definition, lay_out

ORDER = {"order_id": "ORD-1", "total": 1.5}


def test_the_taps_settings_arrive_with_their_types(project, emulator):
    """Numbers, booleans and arrays are parsed, because environment variables are strings.

    An empty one counts as not set: CI systems and .env files define such variables.
    """
    emulator.create_topic("other", id=12)
    emulator.load(12, [ORDER])
    output = project.meltano(
        "invoke",
        "tap-workato-streams",
        variables={
            "TAP_WORKATO_STREAMS_TOPICS": '{"other": {"id": 12}, "orders": "12"}',
            "TAP_WORKATO_STREAMS_BATCH_SIZE": "7",
            "TAP_WORKATO_STREAMS_LEGACY_API": "true",
            "TAP_WORKATO_STREAMS_TAIL": "false",
            "TAP_WORKATO_STREAMS_REQUEST_TIMEOUT_SECS": "9",
            "TAP_WORKATO_STREAMS_STREAM_MAPS": '{"other": {"topic_id": "__NULL__"}}',
            "TAP_WORKATO_STREAMS_START_DATE": "",
            "TAP_WORKATO_STREAMS_DEVELOPER_API_TOKEN": "",
        },
    )
    messages = map(json.loads, output.splitlines())
    records = [message for message in messages if message["type"] == "RECORD"]
    # The stream `orders` of the project, with an id in a text, is merged with this one.
    assert {message["stream"] for message in records} == {"orders", "other"}
    [read] = [message["record"] for message in records if message["stream"] == "other"]
    assert read["payload"] == ORDER
    assert "topic_id" not in read
    [first, *_] = emulator.requests(operation="consume")
    assert first.path == "/api/pubsub/topics/12/consume"
    assert json.loads(first.body)["batch_size"] == 7


def test_the_targets_settings_arrive_with_their_types(project, emulator, tmp_path):
    emulator.create_topic("other", id=12)
    rows = tmp_path / "orders.jsonl"
    rows.write_text("".join(json.dumps({**ORDER, "order_id": n}) + "\n" for n in range(7)))
    project.meltano(
        "run",
        "tap-jsonl",
        "target-workato-streams",
        variables={
            "TAP_JSONL_PATH": str(rows),
            "TARGET_WORKATO_STREAMS_TOPICS": '{"orders": 12}',
            "TARGET_WORKATO_STREAMS_BATCH_SIZE_ROWS": "3",
            "TARGET_WORKATO_STREAMS_MAX_BATCH_AGE_SECS": "30.5",
        },
    )
    assert [payload["order_id"] for payload in emulator.payloads(12)] == list(range(7))
    assert len(emulator.requests(operation="batch", topic_id=12)) == 3


def test_a_dot_in_a_stream_name_is_written_with_a_backslash(project, tmp_path):
    """Meltano splits names at dots, so the README shows how to escape one."""
    content = definition()
    [target, _] = content["plugins"]["loaders"]
    target["config"]["topics"] = {r"public\.orders": 12}
    lay_out(tmp_path, content)
    printed = project.meltano("config", "print", "target-workato-streams")
    assert json.loads(printed)["topics"] == {"public.orders": 12}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("2026-01-31", "2026-01-31T00:00:00Z"),
        ("2026-01-31T02:03:04Z", "2026-01-31T02:03:04Z"),
        ("2026-01-31T02:03:04", "2026-01-31T02:03:04Z"),
        ("'2026-01-31'", "2026-01-31T00:00:00Z"),
        ("'2026-01-31T02:03:04+02:00'", "2026-01-31T02:03:04+02:00"),
        ("3 days ago", ""),
    ],
)
def test_a_date_in_the_project_needs_no_quotes(project, emulator, tmp_path, written, read):
    """In the settings of the run and of a topic; relative dates are for the run only."""
    emulator.create_topic("orders", id=11)
    content = definition()
    topic: dict[str, Any] = {"id": 11}
    config = content["plugins"]["extractors"][0]["config"]
    config |= {"topics": {"orders": topic}, "start_date": "DATE"}
    if read:
        config["topics"]["again"] = {"id": 11, "start_date": "DATE"}
    lay_out(tmp_path, content)
    path = tmp_path / "meltano.yml"
    path.write_text(path.read_text().replace("DATE", written))
    project.meltano("invoke", "tap-workato-streams")
    sent = {json.loads(each.body)["since_time"] for each in emulator.requests(operation="consume")}
    if read:
        assert sent == {read}
    else:
        [time] = map(datetime.fromisoformat, (each.replace("Z", "+00:00") for each in sent))
        age = datetime.now(timezone.utc) - time
        assert timedelta(days=3) <= age < timedelta(days=3, minutes=10)
