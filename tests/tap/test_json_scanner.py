"""JSON is split without decoding it, in time in proportion to its length."""

from __future__ import annotations

import json
import time

import pytest
from tap_workato_streams.plugin.json import elements, members, scan, split_page

MEGABYTE = 1024 * 1024
ITEM = rb'{"x":12345,"y":"abc \n def \u00e9 \ud83d\ude00"}'
LARGE = {
    "many values": b"[%b]" % b",".join([ITEM] * (10 * MEGABYTE // len(ITEM))),
    "a long string": b'"%b"' % (rb"abc \n \ud83d\ude00 " * (10 * MEGABYTE // 20)),
    "many lone surrogates": b'"%b"' % (rb"\ud800 \udfff abcdefgh" * (MEGABYTE // 22)),
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_a_large_record_with_a_lone_surrogate_takes_less_than_a_second(value: bytes) -> None:
    """The fast parser rejects such a record."""
    record = rb'{"lone":"\ud800","value":%b}' % value
    began = time.process_time()
    found = members(record)
    assert time.process_time() - began < 1.0
    assert found == {"lone": rb'"\ud800"', "value": value}


SURROGATES = [
    rb'"\ud800"',
    rb'"\udfff"',
    rb'"\uD800\ud800\udc00"',
    rb'"\ud83d\ude00\ude00"',
    rb'"\\ud800 \\\ud800 \\\\ud800"',
    rb'"\ud800 \ue000 \uE001 \uf8ff"',
    '"\\ud800 \ue000"'.encode(),
    b'"' + b"".join(rb"\u%04x " % code for code in range(0xD800, 0xE000)) + b'"',
]


@pytest.mark.parametrize("value", SURROGATES, ids=lambda value: str(value[:20]))
def test_every_byte_beside_a_lone_surrogate_is_kept(value: bytes) -> None:
    """This includes escaped backslashes and characters of the private use area."""
    assert members(b'{"a":%b}' % value) == {"a": value}
    assert elements(b"[%b, %b]" % (value, value)) == [value, value]
    assert members(b'{%b:1,"\\ud800":2}' % value) == {
        json.loads(value): b"1",
        "\ud800": b"2",
    }


@pytest.mark.parametrize(
    "payload", [b"[1,]", b'{"a":}', b"nul", b'"\x01"', b'"\xff"', b'"\0\0n"', b"01", b"[1 2]"]
)
def test_a_page_is_checked_as_a_whole_although_one_payload_is_nested_too_deeply(
    payload: bytes,
) -> None:
    """Invalid JSON never becomes a record."""
    deep = b"[" * 5000 + b"]" * 5000
    message = b'{"message_id":"%d","payload":%b,"time":"t"}'
    page = b'{"messages":[%b]}'

    first, second = split_page(page % b",".join([message % (1, deep), message % (2, b"[1]")]))
    assert (bytes(first.payload), bytes(second.payload)) == (deep, b"[1]")
    with pytest.raises(ValueError, match=r"\S"):
        split_page(page % b",".join([message % (1, deep), message % (2, payload)]))
    with pytest.raises(ValueError, match=r"\S"):
        split_page(page % b",".join([message % (1, rb'"\ud800"'), message % (2, payload)]))


@pytest.mark.parametrize("count", [999, 1000, 1001, 2500])
def test_repetitions_beyond_those_of_the_regular_expressions_are_split(count: int) -> None:
    """Many escapes in a string, many members, many elements."""
    string = b'"%b"' % (rb"\n" * count)
    array = b"[%b]" % b", ".join([b"1"] * count)
    fields = b"{%b}" % b", ".join([b'"a" : null'] * count)
    text = b'{"a":%b,"b":%b,"c":%b,"d":[%b]}' % (string, array, fields, string)
    expected = {"a": string, "b": array, "c": fields, "d": b"[%b]" % string}
    assert dict(scan(text, "object")) == expected
    for cut in (text[:-1], text.replace(b"\\n", b"\\x", 1), text.replace(b", 1]", b", 1,]")):
        with pytest.raises(ValueError, match="not valid JSON"):
            dict(scan(cut, "object"))


def test_no_error_quotes_the_text() -> None:
    """It may contain a payload."""
    for text in (
        b'{"secret" 1}',
        b'["secret"',
        b'{"a":"secret\x01"}',
        b'"secret"',
        b'{"a":secret}',
    ):
        with pytest.raises(ValueError, match=r"\S") as raised:
            members(text)
        assert "secret" not in str(raised.value)
