"""A run whose records were read from the topic to which they go fails before it publishes any."""

from typing import Any

import pytest

from tests.support.executables import run
from tests.support.singer_lines import record, schema

MESSAGES = [{"order_id": 1, "address": {"city": "Łódź"}}, {"order_id": 2}]
FIELDS: dict[str, Any] = {"message_id": {}, "topic_id": {}}
# What the tap emits, and what the target does to it.
FORMS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "nested": ({}, {}),
    "without time": ({"stream_maps": {"orders": {"time": "__NULL__"}}}, {}),
    "only the payload": ({}, {"payload_field": "payload"}),
    "unpacked": ({"record_format": "unpacked"}, {}),
    "another key": (
        {
            "record_format": "unpacked",
            "stream_maps": {"orders": {"__key_properties__": ["order_id"]}},
        },
        {},
    ),
    "flattened by the tap": (
        {"record_format": "unpacked", "flattening_enabled": True, "flattening_max_depth": 1},
        {},
    ),
    "flattened": ({}, {"flattening_enabled": True, "flattening_max_depth": 1}),
    "mapped": ({}, {"stream_maps": {"orders": {"topic_id": "__NULL__", "__alias__": "copy"}}}),
    "with metadata": ({}, {"add_record_metadata": True}),
    "decoded": ({}, {"stream_maps": {"*": {}}}),
}


@pytest.fixture
def mirror(emulator, tap_config, run_target):
    """Read a topic with two messages, and publish what the tap has emitted."""

    def mirror_it(to, from_tap=None, settings=None):
        for topic in (11, 12):
            emulator.create_topic(f"topic {topic}", id=topic)
        emulator.load(11, MESSAGES)
        topics = [{"id": 11, "name": "orders"}]
        read = run("tap-workato-streams", "--config", tap_config(topics=topics, **from_tap or {}))
        assert len(read.records()) == len(MESSAGES)
        return run_target(*read.stdout.splitlines(), topics={"*": to}, **settings or {})

    return mirror_it


@pytest.mark.parametrize("form", FORMS)
def test_a_topic_is_not_published_into_itself(emulator, mirror, form):
    """One line names the topic and the remedy, and no request is sent."""
    done = mirror(11, *FORMS[form])
    assert done.exit_code == 1
    [line] = done.error_lines
    stream = "copy" if form == "mapped" else "orders"
    assert f"stream {stream}: its records were read from topic 11, which would be" in line
    assert '{"topic_id": "__NULL__"}' in line
    assert emulator.requests(operation="batch") == []
    assert done.stdout == b""


@pytest.mark.parametrize("form", FORMS)
def test_a_copy_into_another_topic_is_published(emulator, mirror, form):
    done = mirror(12, *FORMS[form])
    assert done.exit_code == 0, done.stderr
    assert len(emulator.messages(12)) == len(MESSAGES)


def test_a_tap_that_removes_topic_id_says_that_it_is_meant(emulator, mirror):
    """The topics of two workspaces may have the same id. This is the error's remedy."""
    done = mirror(11, {"stream_maps": {"*": {"topic_id": "__NULL__"}}})
    assert done.exit_code == 0, done.stderr
    copies = [payload["payload"] for payload in emulator.payloads(11)[len(MESSAGES) :]]
    assert copies == MESSAGES


def test_each_record_of_a_stream_of_several_topics_is_checked(emulator, topic, run_target):
    """Stream maps may merge topics into one stream."""
    rows = [record(message_id=f"A{number}", topic_id=number) for number in (topic + 1, topic)]
    done = run_target(schema(keys=("message_id",), **FIELDS), *rows, batch_size_rows=1)
    assert done.exit_code == 1
    assert [payload["message_id"] for payload in emulator.payloads(topic)] == [f"A{topic + 1}"]


@pytest.mark.parametrize("left_out", [*FIELDS, None])
def test_other_streams_with_a_field_topic_id_are_published(emulator, topic, run_target, left_out):
    """Such as the posts of a forum, whose message ids are numbers."""
    fields = {"message_id": "A5" if left_out else 5, "topic_id": topic}
    described = {name: each for name, each in FIELDS.items() if name != left_out}
    fields = {name: value for name, value in fields.items() if name != left_out}
    assert run_target(schema(keys=(), **described), record(**fields)).exit_code == 0
    assert emulator.payloads(topic) == [fields]
