"""Publish as the contract has it: bytes kept, batches and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.emulator.conftest import Api
    from tests.emulator.control import Emulator

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
    """However a message is published, its payload comes back unchanged."""
    topic_id = emulator.create_topic()
    assert api.publish(topic_id, b"\n " + payload + b" \n").status_code == 200
    assert api.batch(topic_id, b"{}", payload, b"{}").status_code == 200
    emulator.load(topic_id, [payload])
    stored = [message.payload for message in emulator.messages(topic_id)]
    assert stored == [payload, b"{}", payload, b"{}", payload]
    page = api.consume(topic_id).content
    assert page.count(b'"payload":' + payload + b',"time":') == (3 if payload != b"{}" else 5)


def test_load_takes_any_bytes(emulator: Emulator) -> None:
    """What no API would take can still be put into a topic."""
    topic_id = emulator.create_topic()
    emulator.load(topic_id, [b"\xff\x00 no JSON", {"ä": 1}, [1]])
    stored = [message.payload for message in emulator.messages(topic_id)]
    assert stored == [b"\xff\x00 no JSON", '{"ä":1}'.encode(), b"[1]"]


def test_load_and_read_many(emulator: Emulator) -> None:
    """Loads longer than a chunk keep their order, their times and their number."""
    topic_id = emulator.create_topic(retention=10**10)
    times = [f"2020-01-01T00:{n // 60 % 60:02}:{n % 60:02}Z" for n in range(3600)] * 3
    ids = emulator.load(topic_id, ({"n": n} for n in range(10_800)), times=sorted(times))
    messages = emulator.messages(topic_id)
    assert [message.message_id for message in messages] == ids
    assert [payload["n"] for payload in emulator.payloads(topic_id)] == list(range(10_800))
    assert messages[-1].time == "2020-01-01T00:59:59.000+00:00"


def test_a_message_gets_an_id(emulator: Emulator, api: Api) -> None:
    """Publishing one message answers with the id under which it is consumed."""
    topic_id = emulator.create_topic()
    answer = api.publish(topic_id, '{"Name": "John"}')
    (message,) = api.page(topic_id)
    assert answer.json() == {"message_id": message["message_id"]}
    assert message["payload"] == {"Name": "John"}


def test_a_batch_gets_results_by_index(emulator: Emulator, api: Api) -> None:
    """A batch of 100 is stored in its order, each entry answered under its index."""
    topic_id = emulator.create_topic()
    answer = api.batch(topic_id, *[f'{{"n":{n}}}' for n in range(100)]).json()
    ids = [message.message_id for message in emulator.messages(topic_id)]
    assert answer["is_partial_error"] is False
    assert answer["message_ids"] == {
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
def test_what_is_no_batch_is_refused(emulator: Emulator, api: Api, body: bytes) -> None:
    """A body that is not JSON, or not 1 to 100 payloads, is a 400 and stores nothing."""
    topic_id = emulator.create_topic()
    answer = api.post(f"/api/v1/batch/topics/{topic_id}/publish", body)
    assert answer.status_code == 400
    assert answer.json()["code"] == 400
    assert emulator.messages(topic_id) == []


@pytest.mark.parametrize("body", [b"", b"[]", b'"text"', b"1", b"{", b'{"a":1} 2', b'{"a":"\xff"}'])
def test_what_is_no_message_is_refused(emulator: Emulator, api: Api, body: bytes) -> None:
    """A message is a JSON object; anything else is a 400."""
    topic_id = emulator.create_topic()
    assert api.publish(topic_id, body).status_code == 400
    assert emulator.messages(topic_id) == []


def test_a_body_may_have_a_mebibyte(emulator: Emulator, api: Api) -> None:
    """1,048,576 bytes pass, one more is a 413 and stores nothing."""
    topic_id = emulator.create_topic()
    fits = b'{"a":"' + b"x" * (1_048_576 - 8) + b'"}'
    assert len(fits) == 1_048_576
    assert api.publish(topic_id, fits).status_code == 200
    answer = api.publish(topic_id, fits + b" ")
    assert (answer.status_code, answer.json()["code"]) == (413, 413)
    assert len(emulator.messages(topic_id)) == 1
