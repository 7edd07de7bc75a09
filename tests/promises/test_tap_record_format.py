"""The lines of the tap have exactly the documented shape."""

from __future__ import annotations

from datetime import datetime

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
    emulator.configure(clock_offset_secs=-_secs_since(TIME))
    [first, second] = emulator.load(topic, [{"n": 1}, {}], times=[TIME, TIME])

    run = run_tap(topics=[{"id": 11, "name": "orders"}])

    lines = run.messages
    shape = ["type", "stream", "record", "time_extracted"]
    assert [list(line) for line in lines[1:3]] == [shape, shape]
    assert lines[0] == {
        "type": "SCHEMA",
        "stream": "orders",
        "schema": OPEN_SCHEMA,
        "key_properties": ["message_id"],
        "bookmark_properties": ["message_id"],
    }
    assert lines[1]["record"] == {
        "message_id": first,
        "topic_id": 11,
        "time": TIME,
        "payload": {"n": 1},
    }
    assert list(lines[1]["record"]) == ["message_id", "topic_id", "time", "payload"]
    assert lines[2]["record"]["message_id"] == second
    assert lines[3] == {
        "type": "STATE",
        "value": {
            "bookmarks": {
                "orders": {
                    "replication_key": "message_id",
                    "replication_key_value": second,
                    "message_time": TIME,
                    "topic_id": 11,
                }
            }
        },
    }
    assert len(lines) == 4
    assert run.exit_code == 0


def test_the_time_of_extraction_is_a_time_with_an_offset(emulator, run_tap):
    """This applies to records emitted as they are, and to those of a stream map."""
    topic = emulator.create_topic()
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


def _secs_since(text: str) -> float:
    then = datetime.fromisoformat(text)
    return (datetime.now(then.tzinfo) - then).total_seconds() - 60
