"""Settings from environment variables get the right type."""

from __future__ import annotations

import json
from typing import Any

from tests.support.executables import run

ORDER = {"order_id": "ORD-1", "total": 1.5}


def singer(*messages: dict[str, Any]) -> bytes:
    return "".join(json.dumps(message) + "\n" for message in messages).encode()


def test_the_taps_settings_arrive_with_their_types(project, emulator):
    """Numbers, booleans and arrays are parsed, because environment variables are strings."""
    emulator.create_topic("other", id=12)
    emulator.load(12, [ORDER])
    output = project.meltano(
        "invoke",
        "tap-workato-streams",
        variables={
            "TAP_WORKATO_STREAMS_TOPICS": '[{"id": 12, "name": "other"}]',
            "TAP_WORKATO_STREAMS_BATCH_SIZE": "7",
            "TAP_WORKATO_STREAMS_LEGACY_API": "true",
            "TAP_WORKATO_STREAMS_TAIL": "false",
            "TAP_WORKATO_STREAMS_REQUEST_TIMEOUT_SECS": "9.5",
            "TAP_WORKATO_STREAMS_STREAM_MAPS": '{"other": {"topic_id": "__NULL__"}}',
        },
    )
    [record] = [
        message["record"]
        for message in map(json.loads, output.splitlines())
        if message["type"] == "RECORD"
    ]
    assert record["payload"] == ORDER
    assert "topic_id" not in record
    [first, *_] = emulator.requests(operation="consume")
    assert first.path == "/api/pubsub/topics/12/consume"
    assert json.loads(first.body)["batch_size"] == 7


def test_the_targets_settings_arrive_with_their_types(project, emulator, tmp_path):
    """An object replaces a stream's mapping in the file, and a number limits a batch."""
    emulator.create_topic("other", id=12)
    rows = tmp_path / "orders.jsonl"
    rows.write_text("".join(json.dumps({**ORDER, "n": n}) + "\n" for n in range(7)))
    project.meltano(
        "run",
        "tap-jsonl",
        "target-workato-streams",
        variables={
            "TAP_JSONL_PATH": str(rows),
            "TARGET_WORKATO_STREAMS_TOPICS": '{"orders": 12}',
            "TARGET_WORKATO_STREAMS_BATCH_SIZE_ROWS": "3",
            "TARGET_WORKATO_STREAMS_MAX_BATCH_AGE_SECS": "30.5",
            "TARGET_WORKATO_STREAMS_VALIDATE_RECORDS": "false",
        },
    )
    assert [payload["n"] for payload in emulator.payloads(12)] == list(range(7))
    assert len(emulator.requests(operation="batch", topic_id=12)) == 3


def test_a_dot_in_a_stream_name_is_written_with_a_backslash(in_folder, definition, emulator):
    """Meltano splits names at dots, so the README shows how to escape one."""
    emulator.create_topic("other", id=12)
    [target] = [
        plugin
        for plugin in definition["plugins"]["loaders"]
        if plugin["name"] == "target-workato-streams"
    ]
    target["config"]["topics"] = {r"public\.orders": 12}
    project = in_folder(definition)
    printed = project.meltano("config", "print", "target-workato-streams")
    assert json.loads(printed)["topics"] == {"public.orders": 12}


def test_an_empty_string_counts_as_not_set(project, emulator):
    """CI systems and .env files define variables that are empty."""
    emulator.create_topic("orders", id=11)
    emulator.load(11, [ORDER])
    output = project.meltano(
        "invoke",
        "tap-workato-streams",
        variables={
            "TAP_WORKATO_STREAMS_START_DATE": "",
            "TAP_WORKATO_STREAMS_DEVELOPER_API_TOKEN": "",
            "TAP_WORKATO_STREAMS_MAX_RUN_SECS": "",
        },
    )
    assert '"payload":{"order_id"' in output.replace(" ", "")


def test_a_connector_reads_its_settings_from_the_environment_alone(emulator):
    """`--config=ENV` works without Meltano; empty variables count as not set."""
    emulator.create_topic("orders", id=11)
    common = {"API_TOKEN": emulator.token, "API_URL": emulator.url, "MAX_RETRY_SECS": ""}
    schema = {"type": "object", "properties": {"order_id": {"type": "string"}}}
    published = run(
        "target-workato-streams",
        "--config=ENV",
        stdin=singer(
            {"type": "SCHEMA", "stream": "orders", "schema": schema, "key_properties": []},
            {"type": "RECORD", "stream": "orders", "record": ORDER},
        ),
        env={
            **{f"TARGET_WORKATO_STREAMS_{name}": text for name, text in common.items()},
            "TARGET_WORKATO_STREAMS_TOPICS": '{"ord*": 11}',
            "TARGET_WORKATO_STREAMS_MAX_BATCH_AGE_SECS": "",
        },
    )
    assert published.exit_code == 0, published.stderr
    read = run(
        "tap-workato-streams",
        "--config=ENV",
        env={
            **{f"TAP_WORKATO_STREAMS_{name}": text for name, text in common.items()},
            "TAP_WORKATO_STREAMS_TOPICS": '[{"id": 11}]',
            "TAP_WORKATO_STREAMS_START_DATE": "",
            "TAP_WORKATO_STREAMS_TAIL": "False",
        },
    )
    assert read.exit_code == 0, read.stderr
    assert [record["payload"] for record in read.records("topic_11")] == [ORDER]
