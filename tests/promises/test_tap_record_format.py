"""The lines of the tap have exactly the documented shape."""

from datetime import datetime, timezone

TIME = "2023-04-14T15:07:14.437+00:00"
OPEN_SCHEMA = {
    "type": "object",
    "properties": {
        "message_id": {"type": "string", "maxLength": 255, "description": "Opaque; not sortable"},
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
    """In this order, and nothing else; a stream's name may contain any characters."""
    name = 'a "quoted" näme'
    topic = emulator.create_topic(id=11, retention=7_776_000)
    age = datetime.now(timezone.utc) - datetime.fromisoformat(TIME)
    emulator.configure(clock_offset_secs=60 - age.total_seconds())
    [first, second] = emulator.load(topic, [{"n": 1}, {}], times=[TIME, TIME])

    run = run_tap(topics=[{"id": 11, "name": name}])

    schema, record, other, state = run.messages
    assert schema == {
        "type": "SCHEMA",
        "stream": name,
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
    assert state == {"type": "STATE", "value": {"bookmarks": {name: bookmark}}}
    assert run.exit_code == 0


def test_the_time_of_extraction_is_a_time_with_an_offset(emulator, topic, run_tap):
    emulator.load(topic, [{"n": 1}])
    for maps in (None, {"topic_1": {"n": "payload['n']"}}):
        run = run_tap(topics=[topic], stream_maps=maps)
        [line] = [message for message in run.messages if message["type"] == "RECORD"]
        extracted = datetime.fromisoformat(line["time_extracted"].replace("Z", "+00:00"))
        assert extracted.tzinfo
