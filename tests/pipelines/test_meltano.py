"""Pipelines with both connectors in one Meltano project."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tools.demo.project import MeltanoFailedError

pytestmark = pytest.mark.timeout(600)

# No JSON value may change on the way, not even in its digits or white space.
PAYLOADS = [
    b'{"total": 1.10, "big": 123456789012345678901234567890, "at": "2026-11-24T00:00:00Z"}',
    '{"name":"Łukasz 🎁","lines":[{"price":0.0000001}],"_sdc_batched_at":"mine","":1E5}'.encode(),
    b'{"ship_on":"2026-02-30"}',
]


def test_a_topic_is_mirrored_into_another(project, emulator):
    """With `payload_field: payload`, the payloads arrive unchanged and in order."""
    emulator.create_topic("orders", id=11)
    emulator.create_topic("copy", id=12)
    emulator.load(11, PAYLOADS)
    variables = {
        "TARGET_WORKATO_STREAMS_TOPICS": '{"orders": 12}',
        "TARGET_WORKATO_STREAMS_PAYLOAD_FIELD": "payload",
    }
    mirror = ("run", "tap-workato-streams", "target-workato-streams")
    project.meltano(*mirror, variables=variables)
    assert [message.payload for message in emulator.messages(12)] == PAYLOADS
    emulator.load(11, PAYLOADS[:1])
    project.meltano(*mirror, variables=variables)
    assert [message.payload for message in emulator.messages(12)] == [*PAYLOADS, PAYLOADS[0]]


def test_the_last_state_of_a_run_is_kept(project, emulator):
    """Meltano has stored the bookmark of the last message, with its time."""
    emulator.create_topic("orders", id=11)
    emulator.create_topic("copy", id=12)
    emulator.load(11, PAYLOADS)
    project.meltano(
        "run",
        "tap-workato-streams",
        "target-workato-streams",
        variables={"TARGET_WORKATO_STREAMS_TOPICS": '{"orders": 12}'},
    )
    state = project.meltano("state", "get", "dev:tap-workato-streams-to-target-workato-streams")
    last = emulator.messages(11)[-1]
    assert json.loads(state)["singer_state"]["bookmarks"]["orders"] == {
        "replication_key": "message_id",
        "replication_key_value": last.message_id,
        "message_time": last.time,
        "topic_id": 11,
    }


@pytest.mark.parametrize("plugin", ["tap-workato-streams", "target-workato-streams"])
def test_meltano_logs_an_error_of_a_connector_as_an_error(project, emulator, plugin):
    """Both definitions have the capability `structured-logging`; otherwise, it would be [info]."""
    emulator.create_topic("orders", id=11)
    emulator.load(11, PAYLOADS)
    invalid = {f"{plugin.replace('-', '_').upper()}_API_TOKEN": "invalid"}
    with pytest.raises(MeltanoFailedError) as failure:
        project.meltano("run", "tap-workato-streams", "target-workato-streams", variables=invalid)
    [line] = [line for line in str(failure.value).splitlines() if "HTTP 401" in line]
    assert "[error" in line
    assert plugin in line


def test_inherited_plugins_run_in_parallel(in_folder, definition, emulator):
    """Meltano runs one instance of a plugin at a time, so each topic has an inherited plugin."""
    for topic_id, name in ((11, "orders"), (12, "returns")):
        emulator.create_topic(name, id=topic_id)
        emulator.load(topic_id, PAYLOADS)
        definition["plugins"]["extractors"].append(
            {
                "name": f"tap-{name}",
                "inherit_from": "tap-workato-streams",
                "config": {"topics": [{"id": topic_id, "name": name}]},
            }
        )
        definition["plugins"]["loaders"].append(
            {
                "name": f"target-{name}",
                "inherit_from": "target-workato-streams",
                "config": {"topics": {name: topic_id + 10}},
            }
        )
        emulator.create_topic(f"copy of {name}", id=topic_id + 10)
    project = in_folder(definition)
    project.meltano(
        "state", "list"
    )  # If the first two commands ran at the same time, both would create the database.
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(project.meltano, "run", f"tap-{name}", f"target-{name}")
            for name in ("orders", "returns")
        ]
    assert [run.exception() for run in runs] == [None, None]
    for topic_id in (11, 12):
        copied = [payload["payload"] for payload in emulator.payloads(topic_id + 10)]
        assert copied == [json.loads(payload) for payload in PAYLOADS]


def test_flattening_gives_typed_columns(project, emulator):
    """With an inferred schema, each field of the payload becomes a column, as in the README."""
    emulator.create_topic("orders", id=11)
    emulator.load(11, [{"order_id": "ORD-1", "paid": True, "customer": {"points": 5}}])
    output = project.meltano(
        "invoke",
        "tap-workato-streams",
        variables={
            "TAP_WORKATO_STREAMS_INFER_SCHEMA": "true",
            "TAP_WORKATO_STREAMS_FLATTENING_ENABLED": "true",
            "TAP_WORKATO_STREAMS_FLATTENING_MAX_DEPTH": "2",
        },
    )
    messages = [json.loads(line) for line in output.splitlines()]
    [columns] = [m["schema"]["properties"] for m in messages if m["type"] == "SCHEMA"]
    assert {name: set(columns[f"payload__{name}"]["type"]) for name in ("order_id", "paid")} == {
        "order_id": {"string", "null"},
        "paid": {"boolean", "null"},
    }
    [record] = [m["record"] for m in messages if m["type"] == "RECORD"]
    assert record["payload__customer__points"] == 5


def test_without_topics_each_topic_of_the_workspace_is_a_stream(in_folder, definition, emulator):
    """The Developer API lists the topics and their schemas."""
    total = {"name": "total", "type": "number", "optional": True}
    emulator.create_topic("Late Orders", id=11, schema=[total])
    emulator.create_topic("returns", id=12)
    emulator.load(11, [b'{"total":1.10}'])
    [tap] = [one for one in definition["plugins"]["extractors"] if "tap-jsonl" not in one["name"]]
    tap["config"] = {
        "developer_api_token": emulator.developer_token,
        "developer_api_url": "$EVENT_STREAMS_URL",
    }
    output = in_folder(definition).meltano("invoke", "tap-workato-streams")
    messages = [json.loads(line) for line in output.splitlines()]
    schemas = {m["stream"]: m["schema"] for m in messages if m["type"] == "SCHEMA"}
    assert sorted(schemas) == ["late_orders", "returns"]
    payload = schemas["late_orders"]["properties"]["payload"]
    assert "number" in payload["properties"]["total"]["type"]
    assert '{"total":1.10}' in output
