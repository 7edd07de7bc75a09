"""What decodes a record works as in any tap of the SDK, and keeps what it does not touch.

Stream maps, flattening and deselection.
"""

from typing import Any

import pytest

from tests.support.executables import Outcome
from tests.support.tap import bookmark, deselect, discover
from tests.support.tap_output import consumed, ids

# Decoded payloads that are written unchanged: notation, digits, dates and lone surrogates.
NUMBERS = [
    *(b"-0", b"1.10", b"1e400", b"1E5", b"0.0000001", b"0.1234567890123456789012345"),
    *(b"123456789012345678901234567890", b"-" + b"9" * 5000, b"0." + b"9" * 5000),
]
KEPT = [
    *(b'{"n":%b}' % number for number in NUMBERS),
    *(b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b"[1.10,null,true]", b"null", b'"text"'),
    b'{"at":"2024-13-45","t":"2024-01-01"}',
    b'{"_sdc_batched_at":1,"":{"":[]}}',
]
ORDER = {"id": "ORD-1", "total": 1.5, "customer": {"name": "Ann", "city": "Bern"}, "lines": [1, 2]}
TEXT = {"type": "string"}
ORDER_SCHEMA = {
    "type": "object",
    "properties": {
        "id": TEXT,
        "total": {"type": "number"},
        "customer": {"type": "object", "properties": {"name": TEXT, "city": TEXT}},
        "lines": {"type": "array", "items": {"type": "integer"}},
    },
}


def columns(run: Outcome, stream: str = "topic_1") -> dict[str, Any]:
    [schema] = [
        message["schema"]
        for message in run.messages
        if message["type"] == "SCHEMA" and message["stream"] == stream
    ]
    return {name: about.get("type") for name, about in schema["properties"].items()}


def test_values_that_a_stream_map_does_not_touch_are_unchanged(emulator, run_tap, topic):
    """Only white space is removed, and not even that from streams without a map."""
    emulator.load(topic, [*KEPT, b'{ "n" : 1E5 }'])
    emulator.load(emulator.create_topic(), [b'{ "n" : 1E5 }'])
    run = run_tap(
        topics=[1, 2], stream_maps={"topic_1": {"more": "topic_id"}}, max_parallel_topics=1
    )
    records = [line for line in run.stdout.splitlines() if b'"RECORD"' in line]
    expected = [b'"payload":%b,"more":1},"time_ex' % each for each in (*KEPT, b'{"n":1E5}')]
    expected.append(b'"payload":{ "n" : 1E5 }},"time_ex')
    for record, payload in zip(records, expected, strict=True):
        assert payload in record
    assert (run.exit_code, run.error_lines) == (0, [])


def test_columns_are_added_renamed_and_removed(emulator, run_tap, topic):
    """The stream gets the alias; its bookmark keeps the topic's own name."""
    [only] = emulator.load(topic, [ORDER])
    maps = {
        "topic_1": {
            "__alias__": "orders",
            "order_id": "payload['id']",
            "city": "payload['customer']['city'].upper()",
            "published_at": "time",
            "time": None,
            "payload": None,
        }
    }

    run = run_tap(topics=[topic], stream_maps=maps)

    assert run.records("orders") == [
        {
            "message_id": only,
            "topic_id": 1,
            "order_id": "ORD-1",
            "city": "BERN",
            "published_at": emulator.messages(topic)[0].time,
        }
    ]
    assert columns(run, "orders").keys() == run.records()[0].keys()
    assert list(run.states[-1]["bookmarks"]) == ["topic_1"]
    assert bookmark(run.states[-1], "topic_1") == only


def test_a_filter_that_drops_records_moves_the_bookmark(emulator, run_tap, topic):
    """Dropped records are not read again, even if all were dropped."""
    loaded = emulator.load(topic, [{"n": n} for n in range(10)])
    some = {"topic_1": {"__filter__": "payload['n'] in (2, 5)"}}
    none = {"topic_1": {"__filter__": "payload['n'] > 100"}}

    first = run_tap(topics=[topic], batch_size=3, stream_maps=some)
    assert ids(first) == [loaded[2], loaded[5]]
    assert bookmark(first.states[-1], "topic_1") == loaded[-1]

    more = emulator.load(topic, [{"n": 5}, {"n": 6}])
    second = run_tap(topics=[topic], stream_maps=none, state=first.states[-1])
    assert ids(second) == []
    assert bookmark(second.states[-1], "topic_1") == more[-1]
    assert consumed(emulator)[-2]["after_message_id"] == loaded[-1]
    assert second.exit_code == 0


@pytest.mark.parametrize(
    ("settings", "rule"),
    [({}, "payload['n'] > 1"), ({"record_format": "unpacked"}, "n > 1")],
    ids=["nested", "unpacked"],
)
def test_what_passes_a_filter_keeps_its_text(emulator, run_tap, topic, settings, rule):
    """The error of a filter names the message; records before it are written and covered."""
    loaded = emulator.load(topic, [b'{"n":1E0}', b'{"n":2E0}', b'{"n":3E0}', b'{"n":null}'])
    maps = {"topic_1": {"__filter__": rule, "__alias__": "some"}}
    run = run_tap(topics=[topic], stream_maps=maps, **settings)
    assert ids(run, "some") == loaded[1:3]
    assert b'"n":2E0}' in run.stdout
    [line] = run.error_lines
    assert f"message {loaded[3]} cannot be written (__filter__: TypeError); change" in line
    assert bookmark(run.states[-1], "topic_1") == loaded[2]


@pytest.mark.parametrize("record_format", ["nested", "unpacked"])
def test_streams_without_a_map_can_be_left_out(emulator, run_tap, record_format):
    """With `__else__`, or with a map that is null, they have neither SCHEMA nor RECORD."""
    for _ in range(3):
        emulator.load(emulator.create_topic(), [{"n": 1}])

    run = run_tap(
        topics=[1, 2, 3],
        stream_maps={"topic_1": {"x": "1"}, "topic_2": None, "__else__": None},
        record_format=record_format,
    )

    assert {message["stream"] for message in run.messages if "stream" in message} == {"topic_1"}
    assert len(ids(run)) == 1
    assert run.exit_code == 0


def test_a_topic_can_become_two_streams(emulator, run_tap, topic):
    loaded = emulator.load(topic, [ORDER, ORDER])
    maps = {"topic_1": {"payload": None}, "whole": {"__source__": "topic_1"}}
    run = run_tap(topics=[topic], stream_maps=maps)
    assert ids(run, "topic_1") == ids(run, "whole") == loaded
    assert [record["payload"] for record in run.records("whole")] == [ORDER, ORDER]
    assert "payload" not in columns(run, "topic_1")


@pytest.mark.parametrize(
    ("expression", "reason", "batch_size", "written"),
    [
        ("payload['absent']", "KeyError", 50, 1),
        ("int(payload['text'])", "ValueError", 1, 1),
        ("unknown(payload)", "Failed to evaluate simpleeval expressions unknown(payload).", 50, 0),
    ],
)
def test_a_map_that_fails_ends_its_topic_with_one_line(
    emulator, run_tap, topic, expression, reason, batch_size, written
):
    """Earlier records are written and covered; other topics continue; no payload is shown.

    No page of the topic follows, or the bookmark would pass the message.
    """
    payloads = [{"absent": 1, "text": "1"}, {"text": "hush"}, {"absent": 1, "text": "2"}]
    loaded = emulator.load(topic, payloads)
    others = emulator.load(emulator.create_topic(), [{}] * 60)

    run = run_tap(
        topics=[1, 2],
        stream_maps={"topic_1": {"x": expression}},
        max_parallel_topics=1,
        batch_size=batch_size,
    )

    assert run.exit_code == 1
    [line] = run.error_lines
    assert f"topic_1 (topic 1): message {loaded[written]} cannot be written (x: {reason})" in line
    assert "hush" not in run.stderr
    assert ids(run, "topic_1") == loaded[:written]
    assert ids(run, "topic_2") == others
    assert bookmark(run.states[-1], "topic_1") == (loaded[0] if written else None)
    assert bookmark(run.states[-1], "topic_2") == others[-1]


def test_an_invalid_map_is_rejected_before_the_first_request(emulator, run_tap, topic):
    run = run_tap(topics=[topic], stream_maps={"topic_1": {"message_id": None}})
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "Removing key property 'message_id' is not permitted" in line
    assert emulator.requests() == []


def test_a_payload_too_deep_to_be_decoded_is_reported_in_one_line(emulator, run_tap, topic):
    deep = b"[" * 100_000 + b"]" * 100_000
    loaded = emulator.load(topic, [b'{"n":1}', b'{"n":2}', deep, b'{"n":4}'])

    run = run_tap(topics=[topic], stream_maps={"topic_1": {"x": "topic_id"}})

    assert run.exit_code == 1
    [line] = run.error_lines
    assert f"topic_1 (topic 1): message {loaded[2]} is nested too deeply to be decoded" in line
    assert ids(run) == loaded[:2]
    assert bookmark(run.states[-1], "topic_1") == loaded[1]
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("schema", [ORDER_SCHEMA, None], ids=["declared", "inferred"])
def test_flattening_gives_typed_columns(emulator, run_tap, topic, schema):
    """A payload is never a column of text, not even while nothing is known of it."""
    settings: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 2}
    settings["topics"] = [{"id": topic, "schema": schema} if schema else topic]
    empty = run_tap(**settings)
    emulator.load(topic, [b'{"id":"A","total":1.10,"customer":{"name":"Ann"},"lines":[1.10]}'])

    run = run_tap(**settings)

    of_the_message = {
        "message_id": "string",
        "topic_id": "integer",
        "time": ["string", "null"],
        "_rescued": ["object", "null"],
    }
    texts = ["id", "customer__name", "lines", *(["customer__city"] if schema else [])]
    of_the_payload = {f"payload__{name}": ["string", "null"] for name in texts}
    of_the_payload["payload__total"] = ["number", "null"]
    assert columns(run) == {**of_the_message, **of_the_payload}
    assert columns(empty) == (columns(run) if schema else of_the_message)
    [record] = run.records()
    assert record["payload__customer__name"] == "Ann"
    assert record["payload__lines"] == "[1.10]"
    assert b'"payload__total":1.10,' in run.stdout


def test_deselected_properties_are_left_out(emulator, run_tap, topic):
    """SCHEMA and RECORD lack them, also inside the payload; the rest keeps its value.

    The message id cannot be deselected, because it is the key.
    """
    loaded = emulator.load(topic, [b'{"id":"A","total":1.10,"customer":{"name":"B","city":"C"}}'])
    topics = [{"id": topic, "schema": ORDER_SCHEMA}]
    catalog = discover(run_tap, topics=topics)
    for name in ("message_id", "topic_id"):
        deselect(catalog, "properties", name)
    deselect(catalog, "properties", "payload", "properties", "id")
    deselect(catalog, "properties", "payload", "properties", "customer", "properties", "city")

    run = run_tap(topics=topics, catalog=catalog)

    assert b'"payload":{"total":1.10,"customer":{"name":"B"}}},"time_extracted"' in run.stdout
    assert list(run.records()[0]) == ["message_id", "time", "payload"]
    assert list(columns(run)) == ["message_id", "time", "payload"]
    payload = run.messages[0]["schema"]["properties"]["payload"]["properties"]
    assert list(payload) == ["total", "customer", "lines"]
    assert bookmark(run.states[-1], "topic_1") == loaded[0]


@pytest.mark.parametrize(
    ("name", "record_format"), [("payload", "nested"), ("time", "nested"), ("topic_id", "unpacked")]
)
def test_a_whole_property_can_be_deselected(emulator, run_tap, topic, name, record_format):
    [only] = emulator.load(topic, [ORDER])
    settings: dict[str, Any] = {"topics": [topic], "record_format": record_format}
    catalog = discover(run_tap, **settings)
    deselect(catalog, "properties", name)
    run = run_tap(catalog=catalog, **settings)
    assert name not in run.records()[0]
    assert name not in columns(run)
    kept = run.states[-1]["bookmarks"]["topic_1"]
    assert (kept["replication_key_value"], kept["topic_id"]) == (only, topic)
    assert kept["message_time"] == emulator.messages(topic)[0].time


def test_a_deselected_stream_is_not_read(emulator, run_tap, topic):
    emulator.load(topic, [ORDER])
    other = emulator.create_topic()
    loaded = emulator.load(other, [ORDER])
    catalog = discover(run_tap, topics=[topic, other])
    deselect(catalog)
    given = {"bookmarks": {"topic_1": {"replication_key_value": "A12y", "message_time": "t"}}}

    run = run_tap(topics=[topic, other], catalog=catalog, state=given)

    assert ids(run) == loaded
    assert consumed(emulator, topic) == []
    assert {message["stream"] for message in run.messages if "stream" in message} == {"topic_2"}
    assert run.states[-1]["bookmarks"]["topic_1"] == given["bookmarks"]["topic_1"]
