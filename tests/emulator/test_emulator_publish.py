"""The publish endpoints: unchanged payloads, batches and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.emulator.conftest import Api

ODD = [
    b'{"a":1.10,"b":12345678901234567890123456789012345,"c":1E5,"d":0.0000001,"e":1e400}',
    b'{ "spaced" :\t[ 1 , 2 ] }',
    b'{"twice":1,"twice":2}',
    b'{"surrogate":"\\ud800"}',
    b'{"escaped":"\\u00e9\\/","plain":"\xc3\xa9 \xf0\x9f\x98\x80"}',
    b'{"digits":' + b"9" * 5000 + b"}",
    b"{}",
]


@pytest.mark.parametrize("payload", ODD)
def test_payloads_come_back_byte_for_byte(emulator: Emulator, api: Api, payload: bytes) -> None:
    """The payload does not change, whichever endpoint publishes it."""
    topic_id = emulator.create_topic()
    assert api.publish(topic_id, b"\n " + payload + b" \n").status_code == 200
    assert api.batch(topic_id, b"{}", payload, b"{}").status_code == 200
    emulator.load(topic_id, [payload])
    stored = [message.payload for message in emulator.messages(topic_id)]
    assert stored == [payload, b"{}", payload, b"{}", payload]
    page = api.consume(topic_id).content
    assert page.count(b'"payload":' + payload + b',"time":') == (3 if payload != b"{}" else 5)


def test_load_takes_any_bytes(emulator: Emulator) -> None:
    """`load` can store payloads that the API would reject."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [b"\xff\x00 no JSON", {"ä": 1}, [1]])
    stored = [message.payload for message in emulator.messages(topic_id)]
    assert stored == [b"\xff\x00 no JSON", '{"ä":1}'.encode(), b"[1]"]


def test_load_and_read_many(emulator: Emulator) -> None:
    """A load of several chunks keeps the order, the times and the number of messages."""
    topic_id = emulator.create_topic(retention=10**10)
    times = [f"2020-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(3600)] * 3
    ids = emulator.load(topic_id, ({"n": n} for n in range(10_800)), times=sorted(times))
    messages = emulator.messages(topic_id)
    assert [message.message_id for message in messages] == ids
    assert [payload["n"] for payload in emulator.payloads(topic_id)] == list(range(10_800))
    assert messages[-1].time == "2020-01-01T00:59:59.000+00:00"


def test_a_message_gets_an_id(emulator: Emulator, api: Api) -> None:
    """The response to a message contains the id with which it is consumed."""
    topic_id = emulator.create_topic()
    response = api.publish(topic_id, '{"Name": "John"}')
    (message,) = api.page(topic_id)
    assert response.json() == {"message_id": message["message_id"]}
    assert message["payload"] == {"Name": "John"}


def test_a_batch_gets_results_by_index(emulator: Emulator, api: Api) -> None:
    """A batch of 100 is stored in order, and the response has a result for each index."""
    topic_id = emulator.create_topic()
    response = api.batch(topic_id, *[f'{{"n":{n}}}' for n in range(100)]).json()
    ids = [message.message_id for message in emulator.messages(topic_id)]
    assert response["is_partial_error"] is False
    assert response["message_ids"] == {
        str(n): {"message_id": each, "result": "success"} for n, each in enumerate(ids)
    }
    assert [payload["n"] for payload in emulator.payloads(topic_id)] == list(range(100))


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
def test_invalid_batches_are_rejected(emulator: Emulator, api: Api, body: bytes) -> None:
    """A body that is not JSON or does not have 1 to 100 payloads gives a 400; nothing is stored."""
    topic_id = emulator.create_topic()
    response = api.post(f"/api/v1/batch/topics/{topic_id}/publish", body)
    assert response.status_code == 400
    assert response.json()["code"] == 400
    assert emulator.messages(topic_id) == []


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"1", b"{", b'{"a":1} 2', b'{"a":"\xff"}'])
def test_invalid_messages_are_rejected(emulator: Emulator, api: Api, body: bytes) -> None:
    """A message that is not a JSON object gives a 400."""
    topic_id = emulator.create_topic()
    assert api.publish(topic_id, body).status_code == 400
    assert emulator.messages(topic_id) == []


def test_a_body_may_have_a_mebibyte(emulator: Emulator, api: Api) -> None:
    """A body of 1,048,576 bytes is accepted; one more byte gives a 413 and stores nothing."""
    topic_id = emulator.create_topic()
    fits = b'{"a":"' + b"x" * (1_048_576 - 8) + b'"}'
    assert len(fits) == 1_048_576
    assert api.publish(topic_id, fits).status_code == 200
    response = api.publish(topic_id, fits + b" ")
    assert (response.status_code, response.json()["code"]) == (413, 413)
    assert len(emulator.messages(topic_id)) == 1
