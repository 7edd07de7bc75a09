"""The lines of the tap have exactly the documented shape."""

from __future__ import annotations

from datetime import datetime, timezone

TIME = "2023-04-14T15:07:14.437+00:00"
OPEN_SCHEMA = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "description": "Opaque; not sortable"},
        "topic_id": {"type": "integer"},
        "time": {
            "type": ["string", "null"],
            "format": "date-time",
            "description": "Time of publication",
        },
        "payload": {"type": ["object", "null"], "additionalProperties": True},
    },
    "required": ["message_id"],
}


def test_a_run_writes_schema_records_and_state(emulator, run_tap):
    """The lines are in this order, contain nothing else, and have the service's own time."""
    topic = emulator.create_topic(id=11, retention=7_776_000)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(TIME)
    emulator.configure(clock_offset_secs=60 - age.total_seconds())
    [first, second] = emulator.load(topic, [{"n": 1}, {}], times=[TIME, TIME])

    run = run_tap(topics=[{"id": 11, "name": "orders"}])

    schema, record, other, state = run.messages
    assert schema == {
        "type": "SCHEMA",
        "stream": "orders",
        "schema": OPEN_SCHEMA,
        "key_properties": ["message_id"],
        "bookmark_properties": ["message_id"],
    }
    assert list(record) == list(other) == ["type", "stream", "record", "time_extracted"]
    assert list(record["record"].items()) == [
        ("message_id", first),
        ("topic_id", 11),
        ("time", TIME),
        ("payload", {"n": 1}),
    ]
    assert other["record"]["message_id"] == second
    bookmark = {
        "replication_key": "message_id",
        "replication_key_value": second,
        "message_time": TIME,
        "topic_id": 11,
    }
    assert state == {"type": "STATE", "value": {"bookmarks": {"orders": bookmark}}}
    assert run.exit_code == 0


def test_the_time_of_extraction_is_a_time_with_an_offset(emulator, topic, run_tap):
    emulator.load(topic, [{"n": 1}])
    for maps in (None, {"topic_1": {"n": "payload['n']"}}):
        run = run_tap(topics=[topic], stream_maps=maps)
        [line] = [message for message in run.messages if message["type"] == "RECORD"]
        extracted = datetime.fromisoformat(line["time_extracted"].replace("Z", "+00:00"))
        assert extracted.tzinfo


def test_a_stream_is_named_after_its_topic(emulator, run_tap):
    """The name is in the settings, with any characters, or contains the topic id."""
    for number, name in enumerate(['a "quoted" näme', None], start=1):
        topic = emulator.create_topic(id=number)
        emulator.load(topic, [{"n": 1}])
        run = run_tap(topics=[{"id": topic, "name": name} if name else {"id": topic}])
        expected = name or "topic_2"
        streams = [message.get("stream") for message in run.messages]
        assert streams == [expected, expected, None]
        assert list(run.states[-1]["bookmarks"]) == [expected]
