"""Which records are the same version of a row, versions of one row, or of different rows."""

import json
import re

import pytest
from target_workato_streams.message_key import RowVersion, version
from target_workato_streams.publishing.messages import InvalidPayloadError, Payload
from target_workato_streams.singer_messages import Stream

ORDERS = Stream("orders", ("id", "line"))


KEYLESS = Stream("orders")


def of(text: bytes, stream: Stream = ORDERS) -> RowVersion:
    """The version of a record that is published as it is."""
    return version(text, text, stream)


DEEP = b"[" * 5000 + b"]" * 5000


LONG = b"9" * 5000


SAME = [
    (b'{"id":1,"line":2}', b'{ "line" : 2, "id" : 1 }', ORDERS),
    (b'{"id":"\\u00e9","line":2}', '{"id":"é","line":2}'.encode(), ORDERS),
    (b'{"a":1,"b":[2]}', b'{"b": [2], "a": 1}', KEYLESS),
    (b'{"id":1.10,"line":-0.0}', b'{"id":11e-1,"line":0}', ORDERS),
    (b'{"a":1E5,"b":-12.50}', b'{"a":100000,"b":-125E-1}', KEYLESS),
    (b'{"a":0.00012,"b":1e400}', b'{"a":1.2E-4,"b":10E+399}', KEYLESS),
    (b'{"a":["\\ud800",1.10]}', b'{"a":["\\ud800",1.1]}', KEYLESS),
    (b'{"id":1,"a":{"x":1.10,"y":[]}}', b'{"a":{"y": [], "x":1.10},"id":1}', ORDERS),
    (b'{"a":"\\ud800","b":1}', b'{"b":1, "a":"\\uD800"}', KEYLESS),
    (b'{"id":1,"line":2,"_sdc_batched_at":"x"}', b'{"id":1,"line":2,"_sdc_sequence":7}', ORDERS),
    (b'{"id":1,"line":2,"_sdc_deleted_at":null}', b'{"id":1,"line":2}', ORDERS),
    (b'{"a":"\\ud800","_sdc_deleted_at":1}', b'{"_sdc_deleted_at":2,"a":"\\uD800"}', KEYLESS),
    (b'{"a":%b,"b":1}' % DEEP, b'{"b":1,"a":%b}' % DEEP, KEYLESS),
    (b'{"a":["\\ud800",%b]}' % LONG, b'{"a":["\\ud800", %b]}' % LONG, KEYLESS),
]


SAME_ROW = [
    (b'{"id":1,"line":2,"status":"new"}', b'{"id":1,"line":2,"status":"paid"}'),
    (b'{"id":1,"line":2,"total":1}', b'{"id":1,"line":2,"total":"1"}'),
    (b'{"id":1,"line":2,"a":null}', b'{"id":1,"line":2}'),
    (b'{"id":1,"line":2,"a":"\\ud800"}', b'{"id":1,"line":2,"a":"\\ud801"}'),
    (b'{"id":1,"line":2,"a":"\\ud800"}', b'{"id":1,"line":2,"a":"\\ud800","_sdc_deleted_at":1}'),
    (b'{"id":1,"line":2,"a":"x"}', b'{"id":1,"line":2,"a":"\\ud800"}'),
]


OTHER_ROW = [
    (b'{"id":1,"line":2}', b'{"id":2,"line":1}', ORDERS),
    (b'{"id":1,"line":2}', b'{"id":"1","line":2}', ORDERS),
    (b'{"id":1,"line":12}', b'{"id":11,"line":2}', ORDERS),
    (b'{"id":1,"line":null}', b'{"id":1}', ORDERS),
    (b'{"a":1}', b'{"a":"1"}', KEYLESS),
    (b'{"a":1}', b'{"a":1,"_sdc_deleted_at":"2026-11-24"}', KEYLESS),
    (b'{"a":%b}' % (b"9" * 5000), b'{"a":%b}' % (b"9" * 5001), KEYLESS),
    (b'{"a":%b}' % DEEP, b'{"a":[]}', KEYLESS),
    (b'{"a":"\\ud800"}', b'{"b":"\\ud800"}', KEYLESS),
    (b'{"line":null,"a":"\\ud800"}', b'{"line":null,"a":"\\ud801"}', ORDERS),
]


@pytest.mark.parametrize(("one", "other", "stream"), SAME)
def test_the_same_version_has_the_same_key(one, other, stream):
    """Notation and a connector's metadata do not matter."""
    assert of(one, stream) == of(other, stream)


@pytest.mark.parametrize(("one", "other"), SAME_ROW)
def test_an_update_has_another_key_of_the_same_row(one, other):
    """A consumer that drops duplicates keeps the update; every value counts, and a deletion."""
    assert of(one).row == of(other).row
    assert of(one).content != of(other).content
    assert of(one).is_keyed


@pytest.mark.parametrize(("one", "other", "stream"), OTHER_ROW)
def test_different_rows_have_different_keys(one, other, stream):
    """Types, places and digits count; a row without a key is identified by its content."""
    assert of(one, stream).row != of(other, stream).row
    assert of(one, stream).stream == of(other, stream).stream


def test_streams_do_not_share_keys():
    one, other = of(b'{"a":1}', Stream("a")), of(b'{"a":1}', Stream("b"))
    assert one.row != other.row
    assert one.stream != other.stream


def test_the_content_is_that_of_the_payload():
    """What else the record holds is not published; its key still identifies the row."""
    one = version(b'{"x":1}', b'{"id":1,"line":2,"time":1,"payload":{"x":1}}', ORDERS)
    other = version(b'{"x":1}', b'{ "line": 2, "id" : 1, "time":2}', ORDERS)
    third = version(b'{"x":1}', b'{"id":2,"line":2,"time":2,"payload":{"x":1}}', ORDERS)
    assert one == other
    assert one.row != third.row
    assert one.content == third.content


def test_the_format_is_the_one_that_consumers_know():
    """The format is part of the public interface: consumers compare keys."""
    row, content = "d6b3fdc9c1a20b6bd4b602a201c03721", "869e39b3344a5c1684db839f9c8d085b"
    assert of(b'{"id":1,"line":2,"total":1.10}').key == f"{row}-{content}"
    row = "d6b3fdc94997be5010e6ca813c15770c"
    assert of(b'{"total":1.10}', KEYLESS).key == f"{row}-{row}"
    assert re.fullmatch("[0-9a-f]{32}-[0-9a-f]{32}", of(b"{}").key)


@pytest.mark.parametrize("name", ["key", "clé", "a/b", 'q"'])
@pytest.mark.parametrize("form", ["plain", "escaped", "slashed"])
def test_a_field_of_the_name_of_the_key_is_rejected_however_it_is_written(name, form):
    """A message never has two fields of that name."""
    text = json.dumps({name: 1, "id": 1}, ensure_ascii=form == "escaped")
    body = (text.replace("/", "\\/") if form == "slashed" else text).encode()
    with pytest.raises(InvalidPayloadError, match="already has a field"):
        Payload(None, name).of(body, KEYLESS)
    published, _ = Payload(None, name).of(b'{"id":1}', KEYLESS)
    assert list(json.loads(published)) == ["id", name]


@pytest.mark.parametrize("key", [None, 1, "", "0" * 32, "0" * 32 + "-" + "G" * 32, "x" * 65])
def test_other_values_are_no_message_keys(key):
    """Messages of other producers do not count as ours."""
    assert RowVersion.from_key(json.dumps(key).encode()) is None


def test_a_message_key_names_stream_row_and_content():
    """The first digits are those of the stream; equal halves are a row without a key."""
    found = RowVersion.from_key(b'"01234567%b-%b"' % (b"8" * 24, b"9" * 32))
    assert found is not None
    assert (found.stream, found.is_keyed) == ("01234567", True)
    assert not RowVersion("8" * 32, "8" * 32).is_keyed
