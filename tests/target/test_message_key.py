"""A message key is the same whenever the same record is published, and differs between records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from target_workato_streams.publishing.message_key import message_key
from target_workato_streams.publishing.messages import Stream

from tests.target.singer import raw_record, record, schema

if TYPE_CHECKING:
    from tests.emulator.control import Emulator
    from tests.target.conftest import RunTarget

ORDERS = Stream("orders", ("id", "line"))
KEYLESS = Stream("orders")


def key(text: bytes, stream: Stream = ORDERS) -> str:
    """The key of a record that nothing has changed."""
    return message_key(text, stream, text)


SAME = [
    (b'{"id":1,"line":2,"total":1}', b'{"id":1,"line":2,"total":9}', ORDERS),
    (b'{"id":1,"line":2}', b'{ "line" : 2, "id" : 1 }', ORDERS),
    (b'{"id":"\\u00e9","line":2}', '{"id":"é","line":2}'.encode(), ORDERS),
    (b'{"a":1,"b":[2]}', b'{"b": [2], "a": 1}', KEYLESS),
    (b'{"id":1,"a":2}', b'{"a":2,"id":1}', ORDERS),
]
DIFFERENT = [
    (b'{"id":1,"line":2}', b'{"id":2,"line":1}', ORDERS),
    (b'{"id":1,"line":2}', b'{"id":"1","line":2}', ORDERS),
    (b'{"id":1,"line":12}', b'{"id":11,"line":2}', ORDERS),
    (b'{"id":1.10,"line":1}', b'{"id":1.1,"line":1}', ORDERS),
    (b'{"id":1,"line":null}', b'{"id":1}', ORDERS),
    (b'{"id":1,"line":null,"total":1}', b'{"id":1,"line":null,"total":9}', ORDERS),
    (b'{"a":1}', b'{"a":"1"}', KEYLESS),
    (b'{"a":%b}' % (b"9" * 5000), b'{"a":%b}' % (b"9" * 5001), KEYLESS),
    (b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}", b'{"a":[]}', KEYLESS),
]


@pytest.mark.parametrize(("one", "other", "stream"), SAME)
def test_the_same_record_has_the_same_key(one: bytes, other: bytes, stream: Stream) -> None:
    """By its key properties, else by its content; however it is written."""
    assert key(one, stream) == key(other, stream)


@pytest.mark.parametrize(("one", "other", "stream"), DIFFERENT)
def test_different_records_have_different_keys(one: bytes, other: bytes, stream: Stream) -> None:
    """Types, places and digits count."""
    assert key(one, stream) != key(other, stream)


def test_streams_do_not_share_keys() -> None:
    """The same record of another stream is another record."""
    assert key(b'{"a":1}', Stream("a")) != key(b'{"a":1}', Stream("b"))


@pytest.mark.parametrize(
    "settings", [{}, {"add_record_metadata": True}, {"payload_field": "payload"}]
)
@pytest.mark.parametrize("keys", [("id",), ()])
def test_each_run_adds_the_same_key(
    emulator: Emulator,
    topic: int,
    run_target: RunTarget,
    settings: dict[str, Any],
    keys: tuple[str, ...],
) -> None:
    """Also where the payload alone is published, or metadata that differs from run to run."""
    properties: dict[str, Any] = {"id": {"type": "integer"}, "payload": {"type": "object"}}
    fed = [schema("orders", keys, **properties), *(record(id=n, payload={}) for n in range(3))]
    for _ in range(2):
        assert run_target(*fed, message_key_field="message_key", **settings).exit_code == 0
    found = [payload["message_key"] for payload in emulator.payloads(topic)]
    assert found[:3] == found[3:]
    assert len(set(found)) == 3
    assert all(len(each) == 32 for each in found)


def test_the_rest_of_the_record_stays_as_it_came(
    emulator: Emulator, topic: int, run_target: RunTarget
) -> None:
    """The key is added at its end."""
    run_target(schema(), raw_record(b'{ "id" : 1.10 }'), raw_record(b"{}"), message_key_field="k")
    first, second = [message.payload for message in emulator.messages(topic)]
    assert first.startswith(b'{ "id" : 1.10 ,"k":"')
    assert second.startswith(b'{"k":"')
