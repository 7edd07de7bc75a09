"""JSON is split without decoding it, in time in proportion to its length; no payload changes."""

import json
import time
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tap_workato_streams.event_streams.consume import Message, split_page
from tap_workato_streams.event_streams.json import check_utf8, elements, members, scan

from tests.support.payload_text import payloads

# JSON that msgspec rejects: a page that contains it is split in another way.
SURROGATE = b'"\\ud800"'
DEEP = b"[" * 2000 + b"]" * 2000

MEGABYTE = 1024 * 1024
ITEM = rb'{"x":12345,"y":"abc \n def \u00e9 \ud83d\ude00"}'
LARGE = {
    "many values": b"[%b]" % b",".join([ITEM] * (10 * MEGABYTE // len(ITEM))),
    "a long string": b'"%b"' % (rb"abc \n \ud83d\ude00 " * (10 * MEGABYTE // 20)),
    "many lone surrogates": b'"%b"' % (rb"\ud800 \udfff abcdefgh" * (MEGABYTE // 22)),
}


@pytest.mark.parametrize("value", LARGE.values(), ids=LARGE)
def test_a_large_record_with_a_lone_surrogate_takes_less_than_a_second(value):
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
def test_every_byte_beside_a_lone_surrogate_is_kept(value):
    """This includes escaped backslashes and characters of the private use area."""
    assert members(b'{"a":%b}' % value) == {"a": value}
    assert elements(b"[%b, %b]" % (value, value)) == [value, value]
    named = members(b'{%b:1,"\\ud800":2}' % value)
    assert named == {json.loads(value): b"1", "\ud800": b"2"}


def page(texts: Sequence[bytes]) -> bytes:
    messages = [
        b'{"message_id":"A%d","payload":%b,"time":"t%d"}' % (number, payload, number)
        for number, payload in enumerate(texts)
    ]
    return b'{"messages":[%b]}' % b",".join(messages)


def parts(messages: Sequence[Message]) -> list[tuple[str, bytes, str | None]]:
    return [(m.message_id, bytes(m.payload), m.time) for m in messages]


@pytest.mark.parametrize(
    "payload", [b"[1,]", b'{"a":}', b"nul", b'"\x01"', b'"\xff"', b'"\0\0n"', b"01", b"[1 2]"]
)
@pytest.mark.parametrize("beside", [SURROGATE, DEEP], ids=["lone surrogate", "deep"])
def test_a_page_is_checked_as_a_whole_although_msgspec_rejects_one_payload(payload, beside):
    """Invalid JSON never becomes a record."""
    with pytest.raises(ValueError, match=r"\S"):
        split_page(page([beside, payload]))


@pytest.mark.parametrize(
    "text", [b'{"secret" 1}', b'["secret"', b'{"a":"secret\x01"}', b'"secret"', b'{"a":secret}']
)
def test_no_error_quotes_the_text(text):
    with pytest.raises(ValueError, match=r"\S") as raised:
        members(text)
    assert "secret" not in str(raised.value)


NOT_A_PAGE = {
    "nothing": b"",
    "an array": b"[]",
    "an object without messages": b"{}",
    "messages null": b'{"messages":null}',
    "messages null, with a lone surrogate": b'{"messages":null,"a":"\\ud800"}',
    "a message that is a number": b'{"messages":[5]}',
    "a message without an id": b'{"messages":[{"payload":1,"time":"t"}]}',
    "a message without a payload": b'{"messages":[{"message_id":"A1","time":"t"}]}',
    "an id that is a number": b'{"messages":[{"message_id":1,"payload":1,"time":"t"}]}',
    "a page cut in a list": b'{"messages":[',
    "a page cut in a very deep payload": b'{"messages":[{"message_id":"A1","payload":'
    + b"[" * 100_000,
    "more after the page": b'{"messages":[]}{}',
    "bytes that are no UTF-8": b'{"messages":[{"message_id":"A1","payload":"\xff","time":"t"}]}',
}


@pytest.mark.parametrize("body", NOT_A_PAGE.values(), ids=NOT_A_PAGE.keys())
def test_what_is_not_a_page_is_rejected(body):
    """It is never taken for a page without messages, which would be the end of the topic."""
    with pytest.raises(ValueError, match=r"\S"):
        split_page(body)


# With keys that the API may add, white space, escapes, and characters beyond ASCII.
UNUSUAL_PAGE = (
    b'{"a":[1,{"messages":[]}] , "messages" :\n[ { "b":{"time":"x"}, "time" : "\xc3\xbc",\r\n'
    b'\t"payload" : %b , "message_id" : "A\\u00fc\\"1"\r\n } ],"c":"]}"}'
)


@pytest.mark.parametrize("payload", [b'{ "a" : 1.10 }', b'[ 1.10 ,\n"\\ud800" ]'])
def test_the_notation_of_a_page_makes_no_difference(payload):
    """On either way of splitting; of the payload, only a line break becomes a space."""
    expected = [('Aü"1', payload.replace(b"\n", b" "), "ü")]
    assert parts(split_page(UNUSUAL_PAGE % payload)) == expected


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
# As a publisher may write them, and as Python would.
json_texts = st.one_of(
    payloads,
    st.builds(json.dumps, VALUES, ensure_ascii=st.booleans(), indent=st.none() | st.just(1)).map(
        str.encode
    ),
    st.sampled_from([b'"[{,]}"', b'"\\/"', b"9" * 5000, b'{"messages":[],"payload":{}}', b"[ ]"]),
)


@settings(max_examples=60)
@given(st.lists(json_texts, max_size=8))
def test_every_payload_comes_out_as_it_went_in(texts):
    """The bytes are the same, even if another message of the page forces the slow way.

    Only a line break becomes a space, since each payload becomes part of a line.
    """
    lines = [text.replace(b"\n", b" ") for text in texts]
    expected = [(f"A{number}", line, f"t{number}") for number, line in enumerate(lines)]
    assert parts(split_page(page(texts))) == expected
    assert parts(split_page(page([*texts, SURROGATE])))[:-1] == expected
    assert parts(split_page(page([*texts, DEEP])))[:-1] == expected


@pytest.mark.parametrize("before", [0, 10, 65_533, 65_534, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("odd", [b"\xff", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80"])
def test_what_is_not_utf8_is_found_anywhere_in_a_large_page(before, odd):
    """Characters may lie on the border of the parts in which the page is checked."""
    text = b"x" * before + "\U0001f600".encode() + b"x" * 70_000
    check_utf8(text)
    for bad in (text + odd + b"x", text + odd, text[:before] + odd + text[before:]):
        with pytest.raises(ValueError, match=r"not UTF-8$"):
            check_utf8(bad)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_the_scanner_agrees_with_the_decoder_on_valid_json(value, ascii_only, indent):
    """Content, spacing and escapes of an object do not matter."""
    encoded = json.dumps(value, ensure_ascii=ascii_only, indent=indent).encode()
    found = {name: json.loads(part) for name, part in scan(encoded, "object")}
    assert json.dumps(found) == json.dumps(json.loads(encoded))
    assert scan_beside_deep_value(encoded) == encoded


@given(
    st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    st.integers(0, 200),
    st.sampled_from(list(b'{}[]:,"\\0a \x01\xff')),
)
def test_the_scanner_agrees_with_the_decoder_on_invalid_json(value, place, byte):
    """A byte in the wrong place is found, whichever it is; one in a right place is not."""
    encoded = bytearray(json.dumps(value).encode())
    encoded[place % len(encoded)] = byte
    try:
        expected = isinstance(json.loads(bytes(encoded)), dict)
    except ValueError:
        expected = False
    assert is_accepted(lambda text: dict(scan(text, "object")), bytes(encoded)) == expected
    is_json = is_accepted(json.loads, bytes(encoded))
    assert is_accepted(scan_beside_deep_value, bytes(encoded)) == is_json


def scan_beside_deep_value(text: bytes) -> bytes:
    """Split an array in which msgspec cannot decode the first value; return the second one."""
    _, second = elements(b"[%b,%b]" % (DEEP, text))
    return second


def is_accepted(read: Callable[[bytes], object], text: bytes) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("opened", [200, 5000])
@pytest.mark.parametrize("closed", [1, 199])
def test_a_deep_value_that_is_cut_off_is_invalid(opened, closed):
    text = b'{"deep":' + b"[" * opened + b"]" * closed + b"}"
    with pytest.raises(ValueError, match="not valid JSON"):
        members(text)
