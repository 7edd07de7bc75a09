"""Pipelines with both connectors in one Meltano project."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.pipelines.orchestration import definition, lay_out
from tests.tools.demo import orders
from tests.tools.demo.project import MeltanoFailedError

pytestmark = pytest.mark.timeout(600)

COPY = {"TARGET_WORKATO_STREAMS_TOPICS": '{"orders": 12}'}
# The remedy in the error, for topics of two workspaces.
KEEPS_NO_TOPIC_ID = '{"*": {"topic_id": "__NULL__"}}'
MIRROR = ("run", "tap-workato-streams", "target-workato-streams")
# No JSON value may change on the way, not even in its digits or white space.
PAYLOADS = [
    b'{"total": 1.10, "big": 123456789012345678901234567890, "at": "2026-11-24T00:00:00Z"}',
    '{"name":"Łukasz 🎁","lines":[{"price":0.0000001}],"_sdc_batched_at":"mine","":1E5}'.encode(),
    b'{"ship_on":"2026-02-30"}',
]


def test_a_topic_is_mirrored_into_another(project, emulator):
    """With `payload_field: payload`, the payloads arrive unchanged, in order and once.

    Meltano stores the bookmark of the last message, with its time.
    """
    emulator.create_topic("orders", id=11)
    emulator.create_topic("copy", id=12)
    emulator.load(11, PAYLOADS)
    variables = {**COPY, "TARGET_WORKATO_STREAMS_PAYLOAD_FIELD": "payload"}
    project.meltano(*MIRROR, variables=variables)
    assert [message.payload for message in emulator.messages(12)] == PAYLOADS
    emulator.load(11, PAYLOADS[:1])
    project.meltano(*MIRROR, variables=variables)
    assert [message.payload for message in emulator.messages(12)] == [*PAYLOADS, PAYLOADS[0]]
    state = project.meltano("state", "get", "dev:tap-workato-streams-to-target-workato-streams")
    last = emulator.messages(11)[-1]
    assert json.loads(state)["singer_state"]["bookmarks"]["orders"] == {
        "replication_key": "message_id",
        "replication_key_value": last.message_id,
        "message_time": last.time,
        "topic_id": 11,
    }


def test_a_topic_is_not_published_into_itself(project, emulator):
    """The project has one topic for both connectors, as in the README."""
    emulator.create_topic("orders", id=11)
    emulator.load(11, PAYLOADS)
    with pytest.raises(MeltanoFailedError, match="would be published into itself"):
        project.meltano(*MIRROR)
    assert len(emulator.messages(11)) == len(PAYLOADS)
    project.meltano(*MIRROR, variables={"TAP_WORKATO_STREAMS_STREAM_MAPS": KEEPS_NO_TOPIC_ID})
    assert len(emulator.messages(11)) == 2 * len(PAYLOADS)


@pytest.mark.parametrize("plugin", ["tap-workato-streams", "target-workato-streams"])
def test_meltano_logs_an_error_of_a_connector_as_an_error(project, emulator, plugin):
    """Both definitions have the capability `structured-logging`; otherwise, it would be [info]."""
    emulator.create_topic("orders", id=11)
    emulator.load(11, PAYLOADS)
    invalid = {f"{plugin.replace('-', '_').upper()}_API_TOKEN": "invalid", **COPY}
    with pytest.raises(MeltanoFailedError) as failure:
        project.meltano(*MIRROR, variables=invalid)
    [line] = [line for line in str(failure.value).splitlines() if "HTTP 401" in line]
    assert "[error" in line
    assert plugin in line


def test_an_error_of_the_target_is_not_buried(project, emulator):
    """The target reads on, so that Meltano does not log the tap's broken pipe in 100 lines."""
    emulator.create_topic("orders", id=11)
    invalid = {
        "TARGET_WORKATO_STREAMS_API_TOKEN": "invalid",
        "TAP_JSONL_PATH": str(orders.FILE),
    }
    project.meltano("install", "extractor", "tap-jsonl")
    with pytest.raises(MeltanoFailedError) as failure:
        project.meltano("run", "tap-jsonl", "target-workato-streams", variables=invalid)
    lines = str(failure.value).splitlines()
    assert len([line for line in lines if "HTTP 401" in line]) == 1
    assert len(lines) < 40
    assert "BrokenPipeError" not in str(failure.value)


def test_inherited_plugins_run_in_parallel(project, emulator, tmp_path):
    """Meltano runs one instance of a plugin at a time, so each topic has an inherited plugin."""
    names = {11: "orders", 12: "returns"}
    content = definition()
    # Meltano merges objects: each tap would read this topic, too.
    del content["plugins"]["extractors"][0]["config"]["topics"]
    for topic_id, name in names.items():
        emulator.create_topic(name, id=topic_id)
        emulator.create_topic(f"copy of {name}", id=topic_id + 10)
        emulator.load(topic_id, PAYLOADS)
        for kind, plugin, topics in (
            ("extractors", "tap", {name: topic_id}),
            ("loaders", "target", {name: topic_id + 10}),
        ):
            inherited = {"name": f"{plugin}-{name}", "inherit_from": f"{plugin}-workato-streams"}
            content["plugins"][kind].append({**inherited, "config": {"topics": topics}})
    lay_out(tmp_path, content)
    # If the first two commands ran at the same time, both would create the database.
    project.meltano("state", "list")
    with ThreadPoolExecutor() as pool:
        runs = [
            pool.submit(project.meltano, "run", f"tap-{name}", f"target-{name}")
            for name in names.values()
        ]
    assert [run.exception() for run in runs] == [None, None]
    for topic_id in names:
        copied = [payload["payload"] for payload in emulator.payloads(topic_id + 10)]
        assert copied == [json.loads(payload) for payload in PAYLOADS]
