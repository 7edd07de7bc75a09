"""A record is published as received, byte for byte."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_workato_streams.plugin.json import elements, members, scan

from tests.target.singer import raw_record, schema, state

if TYPE_CHECKING:
    from collections.abc import Callable

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget

RECORDS = [
    b"{}",
    b'{"":""}',
    b'{"a":1.10,"b":1E5,"c":-0.0,"d":1e400,"e":0.0000001,"f":25.1234567890123456789012345}',
    b'{"n":123456789012345678901234567890}',
    b'{"n":' + b"9" * 5000 + b"}",
    b'{"d":"2024-01-01","t":"2024-01-01T00:00:00Z","n":"2024-01-01T00:00:00.123456789+02:00"}',
    b'{"d":"0000-99-99","t":"not a date","year":"-0001-01-01T00:00:00Z"}',
    b'{"_sdc_batched_at":"mine","_sdc_deleted_at":null,"_sdc_sequence":7}',
    '{"name":"Zoë","kana":"カナ","emoji":"😀","rtl":"שלום"}'.encode(),
    b'{"escaped":"\\u00e9\\u0000\\ud83d\\ude00\\n\\/"}',
    b'{"lone":"\\ud800","other":"\\udfff"}',
    b'{"\\ud800":1}',
    b'{"a":1,"a":2}',
    b'{ "spaced" : [ 1 , 2 ] ,\t"more" : { } }',
    b'{"nested":{"list":[{"deep":[[],{},null,true,false]}]}}',
    b'{"deep":' + b"[" * 3000 + b"]" * 3000 + b"}",
    b'{"del":"\x7f"}',
]


def test_every_byte_of_a_record_is_published(
    emulator: Emulator, topic: int, run_target: RunTarget
) -> None:
    """Digits, dates, escapes, spacing and unusual keys are neither rewritten nor dropped."""
    # As deep as here, the emulator itself cannot tell whether a message is an object.
    flat = [text for text in RECORDS if b"[[[" not in text]
    described = schema(
        d={"type": "string", "format": "date"}, t={"type": "string", "format": "date-time"}
    )
    done = run_target(described, *map(raw_record, flat), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [message.payload for message in emulator.messages(topic)] == flat


def test_a_deeply_nested_record_is_published_unchanged(
    emulator: Emulator, run_target: RunTarget
) -> None:
    """The service decides whether to accept it."""
    deep = b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    emulator.fault("status", status=500)
    run_target(schema(), raw_record(deep), max_retry_secs=0)
    (request,) = emulator.requests()
    assert request.body == b'{"payloads":[' + deep + b"]}"


@pytest.mark.parametrize("text", RECORDS)
def test_the_scanner_finds_the_members_that_a_decoder_finds(text: bytes) -> None:
    """Both find the names and the bytes of their values; of duplicate names, the last."""
    found = dict(scan(text, "object"))
    if b"[[[" in text or b"9" * 5000 in text:
        assert found[next(iter(found))] == text.split(b":", 1)[1][:-1]
    else:
        assert {name: json.loads(value) for name, value in found.items()} == json.loads(text)
    assert members(text) == found


FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | st.integers() | FINITE | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@given(st.dictionaries(st.text(), VALUES), st.booleans(), st.sampled_from([None, 1]))
def test_the_scanner_agrees_with_the_decoder_on_valid_json(
    value: dict[str, object],
    ascii_only: bool,  # noqa: FBT001 - hypothesis gives it by position
    indent: int | None,
) -> None:
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
def test_the_scanner_agrees_with_the_decoder_on_invalid_json(
    value: dict[str, object], place: int, byte: int
) -> None:
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
    _, second = elements(b"[" + b"[" * 2000 + b"]" * 2000 + b"," + text + b"]")
    return second


def is_accepted(read: Callable[[bytes], object], text: bytes) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("opened", [199, 200, 201, 399, 400, 401, 1200, 5000])
@pytest.mark.parametrize("closed", [1, 199, 200, 201, 399, 400, 600, 1199])
def test_a_deep_value_that_is_cut_off_is_invalid(opened: int, closed: int) -> None:
    """Wherever it ends."""
    text = b'{"deep":' + b"[" * opened + b"]" * min(closed, opened - 1) + b"}"
    with pytest.raises(ValueError, match="not valid JSON"):
        members(text)
