"""Settings from environment variables get the right type."""

import json

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
            "TAP_WORKATO_STREAMS_TOPICS": '[{"id": 12, "name": "other"}]',
            "TAP_WORKATO_STREAMS_BATCH_SIZE": "7",
            "TAP_WORKATO_STREAMS_LEGACY_API": "true",
            "TAP_WORKATO_STREAMS_TAIL": "false",
            "TAP_WORKATO_STREAMS_REQUEST_TIMEOUT_SECS": "9.5",
            "TAP_WORKATO_STREAMS_STREAM_MAPS": '{"other": {"topic_id": "__NULL__"}}',
            "TAP_WORKATO_STREAMS_START_DATE": "",
            "TAP_WORKATO_STREAMS_DEVELOPER_API_TOKEN": "",
            "TAP_WORKATO_STREAMS_MAX_RUN_SECS": "",
        },
    )
    messages = map(json.loads, output.splitlines())
    [read] = [message["record"] for message in messages if message["type"] == "RECORD"]
    assert read["payload"] == ORDER
    assert "topic_id" not in read
    [first, *_] = emulator.requests(operation="consume")
    assert first.path == "/api/pubsub/topics/12/consume"
    assert json.loads(first.body)["batch_size"] == 7


def test_the_targets_settings_arrive_with_their_types(project, emulator, tmp_path):
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


def test_a_dot_in_a_stream_name_is_written_with_a_backslash(project, tmp_path):
    """Meltano splits names at dots, so the README shows how to escape one."""
    content = definition()
    [target, _] = content["plugins"]["loaders"]
    target["config"]["topics"] = {r"public\.orders": 12}
    lay_out(tmp_path, content)
    printed = project.meltano("config", "print", "target-workato-streams")
    assert json.loads(printed)["topics"] == {"public.orders": 12}
