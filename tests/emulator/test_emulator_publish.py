"""The publish endpoints: unchanged payloads, limits, and the schemas of topics."""

import json

import pytest

ODD = [
    b'{"a":1.10,"b":12345678901234567890123456789012345,"c":1E5,"d":0.0000001,"e":1e400}',
    b'{ "spaced" :\t[ 1 , 2 ] }',
    b'{"twice":1,"twice":2}',
    b'{"surrogate":"\\ud800"}',
    b'{"escaped":"\\u00e9\\/","plain":"\xc3\xa9 \xf0\x9f\x98\x80"}',
    b'{"digits":' + b"9" * 5000 + b"}",
    b"{}",
]
QTY = {"name": "qty", "type": "integer"}
SCHEMA = [
    {"name": "id", "type": "integer", "optional": False},
    {"name": "title"},
    {"name": "total", "type": "number", "optional": True},
    {"name": "paid", "type": "boolean", "optional": True},
    {"name": "due", "type": "date", "optional": True},
    {"name": "made", "type": "date_time", "optional": True},
    {"name": "customer", "type": "object", "optional": True, "properties": [{"name": "city"}]},
    {"name": "lines", "type": "array", "of": "object", "optional": True, "properties": [QTY]},
    {"name": "tags", "type": "array", "of": "string", "optional": True},
]
GOOD, BAD = '{"id":1,"title":"a"}', '{"id":"1","title":"a"}'


@pytest.mark.parametrize("payload", ODD)
def test_payloads_come_back_byte_for_byte(emulator, api, topic, payload):
    assert api.publish(topic, b"\n " + payload + b" \n").status_code == 200
    assert api.batch(topic, b"{}", payload, b"{}").status_code == 200
    emulator.load(topic, [payload])
    stored = [message.payload for message in emulator.messages(topic)]
    assert stored == [payload, b"{}", payload, b"{}", payload]
    page = api.consume(topic).content
    assert page.count(b'"payload":' + payload + b',"time":') == (3 if payload != b"{}" else 5)


def test_load_takes_any_bytes(emulator, topic):
    emulator.load(topic, [b"\xff\x00 no JSON", {"ä": 1}, [1]])
    stored = [message.payload for message in emulator.messages(topic)]
    assert stored == [b"\xff\x00 no JSON", '{"ä":1}'.encode(), b"[1]"]


def test_load_and_read_many(emulator):
    topic = emulator.create_topic(retention=10**10)
    times = [f"2020-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(3600)] * 3
    ids = emulator.load(topic, ({"n": n} for n in range(10_800)), times=sorted(times))
    messages = emulator.messages(topic)
    assert [message.message_id for message in messages] == ids
    assert [payload["n"] for payload in emulator.payloads(topic)] == list(range(10_800))
    assert messages[-1].time == "2020-01-01T00:59:59.000+00:00"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b'{"payloads": []}',
        b'{"payloads": {}}',
        b'{"payload": [{}]}',
        b'{"payloads": [{}]',
        b'{"payloads": [{}]} {}',
        b'{"payloads": [{"a": "\\ud800"}, nope]}',
        b'{"payloads": [{"a": "\\ud800"}]} x',
        b'{"payloads": [{"a": NaN}]}',
        b'{"payloads": [{"a": "\xff"}]}',
        b'{"payloads": [' + b",".join([b"{}"] * 101) + b"]}",
        b'{"payloads": [' + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"]}",
    ],
)
def test_invalid_batches_are_rejected(emulator, api, topic, body):
    response = api.post(f"/api/v1/batch/topics/{topic}/publish", body)
    assert response.status_code == 400
    assert response.json()["code"] == 400
    assert emulator.messages(topic) == []


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"1", b"{", b'{"a":1} 2', b'{"a":"\xff"}'])
def test_invalid_messages_are_rejected(emulator, api, topic, body):
    assert api.publish(topic, body).status_code == 400
    assert emulator.messages(topic) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": "7"}, "id: expected integer"),
        ({"id": 1.5}, "id: expected integer"),
        ({"id": True}, "id: expected integer"),
        ({"id": None}, "id: is missing"),
        ({"title": 5}, "title: expected string"),
        ({"total": "1"}, "total: expected number"),
        ({"paid": 0}, "paid: expected boolean"),
        ({"due": "24.11.2026"}, "due: expected date"),
        ({"made": "now"}, "made: expected date_time"),
        ({"customer": []}, "customer: expected object"),
        ({"customer": {"city": 1}}, "customer.city: expected string"),
        ({"lines": [{"qty": 1}, {"qty": "secret"}]}, "lines[1].qty: expected integer"),
        ({"tags": ["a", 1]}, "tags[1]: expected string"),
    ],
)
def test_messages_must_match_the_schema(emulator, api, change, reason):
    topic = emulator.create_topic(schema=SCHEMA)
    bad = json.dumps({**json.loads(GOOD), **change})
    assert api.publish(topic, bad).json() == {"message": reason, "code": 400}
    response = api.batch(topic, GOOD, bad, GOOD).json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["1"] == {"result": "error", "error": reason}
    assert [response["message_ids"][index]["result"] for index in "02"] == ["success"] * 2
    assert emulator.payloads(topic) == [json.loads(GOOD)] * 2


def test_a_batch_can_be_rejected_as_a_whole(emulator, api):
    topic = emulator.create_topic(schema=SCHEMA)
    emulator.configure(rejection="status", rejection_status=422)
    response = api.batch(topic, GOOD, BAD, BAD)
    assert response.status_code == 422
    assert response.json()["message"] == "payloads[1]: id: expected integer"
    assert emulator.messages(topic) == []
    emulator.configure(schema_checks=False)
    assert api.batch(topic, GOOD, BAD, BAD).status_code == 200


def test_an_entry_that_is_not_an_object_fails(emulator, api, topic):
    response = api.batch(topic, "{}", "[]").json()
    assert response["is_partial_error"] is True
    assert response["message_ids"]["1"]["result"] == "error"
    assert emulator.payloads(topic) == [{}]
