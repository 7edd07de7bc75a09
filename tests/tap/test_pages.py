"""A page is split into its messages without a change to any payload, or rejected as a whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tap_workato_streams.plugin.json import check_utf8, split_page

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tap_workato_streams.event_streams.consume import Message

# A lone surrogate is JSON that msgspec rejects: a page that contains one is split in another way.
SURROGATE = b'"\\ud800"'

NOT_A_PAGE = {
    "nothing": b"",
    "an array": b"[]",
    "a string": b'"messages"',
    "a number": b"5",
    "null": b"null",
    "an object without messages": b"{}",
    "messages null": b'{"messages":null}',
    "messages a number": b'{"messages":5}',
    "messages a string": b'{"messages":"[]"}',
    "messages an object": b'{"messages":{}}',
    "messages null, with a lone surrogate": b'{"messages":null,"a":"\\ud800"}',
    "a message that is a number": b'{"messages":[5]}',
    "a message that is an array": b'{"messages":[[]]}',
    "a message without an id": b'{"messages":[{"payload":1,"time":"t"}]}',
    "a message without a payload": b'{"messages":[{"message_id":"A1","time":"t"}]}',
    "an id that is a number": b'{"messages":[{"message_id":1,"payload":1,"time":"t"}]}',
    "a page cut in a list": b'{"messages":[',
    "a page cut in a payload": b'{"messages":[{"message_id":"A1","payload":{"a":[1,',
    "a page cut in a very deep payload": b'{"messages":[{"message_id":"A1","payload":'
    + b"[" * 100_000,
    "more after the page": b'{"messages":[]}{}',
    "a payload that is no JSON": b'{"messages":[{"message_id":"A1","payload":[1,],"time":"t"}]}',
    "bytes that are no UTF-8": b'{"messages":[{"message_id":"A1","payload":"\xff","time":"t"}]}',
    "a web page": b"<html><body>502</body></html>",
}


def page(payloads: Sequence[bytes]) -> bytes:
    messages = [
        b'{"message_id":"A%d","payload":%b,"time":"t%d"}' % (number, payload, number)
        for number, payload in enumerate(payloads)
    ]
    return b'{"messages":[%b]}' % b",".join(messages)


def parts(messages: Sequence[Message]) -> list[tuple[str, bytes, str | None]]:
    return [(m.message_id, bytes(m.payload), m.time) for m in messages]


@pytest.mark.parametrize("body", NOT_A_PAGE.values(), ids=NOT_A_PAGE.keys())
def test_what_is_not_a_page_is_rejected(body: bytes) -> None:
    """It is never taken for a page without messages, which would be the end of the topic."""
    with pytest.raises(ValueError, match=r"\S"):
        split_page(body)


@pytest.mark.parametrize("body", [b'{"messages":[]}', b' { "messages" : [ ] , "more" : {} } '])
def test_an_empty_page_has_no_messages(body: bytes) -> None:
    """White space and other keys make no difference."""
    assert split_page(body) == []


def test_unknown_keys_are_ignored() -> None:
    """The API may add to a page and to a message, on either way of splitting."""
    extended = (
        b'{"a":[1,{"messages":[]}],"messages":[{"b":{"time":"x"},"time":"t","payload":%b,'
        b'"message_id":"A1"}],"c":"]}"}'
    )
    for payload in (b"[1.10]", b"[1.10,%b]" % SURROGATE):
        assert parts(split_page(extended % payload)) == [("A1", payload, "t")]


def test_white_space_around_a_payload_is_not_part_of_it() -> None:
    """White space inside it is, on either way of splitting; a line break becomes a space."""
    for payload in (b'{ "a" : 1.10 }', b'[ 1.10 ,\n"\\ud800" ]'):
        body = b'{"messages" :\n[ { "message_id" : "A1" ,\t"payload" : %b ,\r\n"time" : "t" } ] }'
        assert parts(split_page(body % payload)) == [("A1", payload.replace(b"\n", b" "), "t")]


def test_an_id_and_a_time_are_decoded_alike() -> None:
    """Both ways of splitting decode escapes and characters beyond ASCII."""
    body = b'{"messages":[{"message_id":"A\\u00fc\\"1","payload":%b,"time":"\xc3\xbc"}]}'
    for payload in (b"1", SURROGATE):
        assert parts(split_page(body % payload)) == [('Aü"1', payload, "ü")]


# Numbers and strings as a publisher may write them, and Python would not.
odd_texts = st.sampled_from(
    [
        "1.10", "1E5", "-0", "-0.0", "0.0000001", "1e400", "9" * 30, "9" * 5000,
        '"\\u0000"', '"\\/"', '"\\\\"', '"\\""', '"[{,]}"', '{"a":1,"a":2}', '{"":0}',
        '{"message_id":"x","payload":{"payload":1},"time":5,"messages":[]}', "[ ]", "{ }",
    ]
)  # fmt: skip
json_texts = st.recursive(
    st.one_of(
        odd_texts,
        st.builds(
            json.dumps,
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats(allow_nan=False, allow_infinity=False),
        ),
        st.builds(json.dumps, st.text(), ensure_ascii=st.booleans()),
    ),
    lambda inner: st.one_of(
        st.lists(inner).map(lambda items: "[" + " , ".join(items) + "]"),
        st.lists(st.tuples(st.text().map(json.dumps), inner)).map(
            lambda pairs: "{" + ",\n".join(f"{key}: {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=20,
)


@settings(max_examples=60)
@given(st.lists(json_texts, max_size=8))
def test_every_payload_comes_out_as_it_went_in(texts: list[str]) -> None:
    """The bytes are the same, even if another message of the page forces the slow way.

    Only a line break becomes a space, since each payload becomes part of a line.
    """
    payloads = [text.encode() for text in texts]
    lines = [payload.replace(b"\n", b" ") for payload in payloads]
    expected = [(f"A{number}", line, f"t{number}") for number, line in enumerate(lines)]

    assert parts(split_page(page(payloads))) == expected
    assert parts(split_page(page([*payloads, SURROGATE])))[:-1] == expected
    assert parts(split_page(page([*payloads, b"[" * 2000 + b"]" * 2000])))[:-1] == expected


@pytest.mark.parametrize("before", [0, 10, 65_533, 65_534, 65_535, 65_536, 200_000])
@pytest.mark.parametrize("odd", [b"\xff", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\x80"])
def test_what_is_not_utf8_is_found_anywhere_in_a_large_page(before: int, odd: bytes) -> None:
    """Characters may lie on the border of the parts in which the page is checked."""
    text = b"x" * before + "\U0001f600".encode() + b"x" * 70_000
    check_utf8(text)
    for bad in (text + odd + b"x", text + odd, text[:before] + odd + text[before:]):
        with pytest.raises(UnicodeDecodeError) as expected:
            bad.decode()
        with pytest.raises(ValueError, match=f"not UTF-8 at byte {expected.value.start + 1}$"):
            check_utf8(bad)
