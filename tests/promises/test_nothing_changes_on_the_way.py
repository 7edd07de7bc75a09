"""Payloads and records arrive byte for byte as they were published or received."""

import json
import re

import pytest

from tests.support.executables import Outcome
from tests.support.singer_lines import raw_record, schema, state
from tests.support.tap_output import consumed, ids

RECORD = re.compile(
    rb'\{"type":"RECORD","stream":"topic_\d+","record":\{"message_id":"([^"]+)","topic_id":\d+,'
    rb'"time":"[^"]+","payload":(.*)\},"time_extracted":"[^"]+"\}'
)


def nested(levels: int) -> bytes:
    half = levels // 2
    return b'{"a":' * half + b"[" * half + b"]" * half + b"}" * half


PAYLOADS = {
    "a trailing zero": b'{"price":1.10}',
    "an exponent": b'{"n":1E5,"m":-1.0e-07,"k":1e+2}',
    "a small decimal": b'{"n":0.0000001}',
    "a negative zero": b'{"n":-0,"m":-0.0}',
    "a number beyond double": b'{"n":1e400,"m":-1e400}',
    "a 25-digit decimal": b'{"n":0.1234567890123456789012345}',
    "a 30-digit integer": b'{"n":123456789012345678901234567890}',
    "a 5,000-digit integer": b'{"n":-' + b"9" * 5000 + b"}",
    "a 5,000-digit decimal": b'{"n":0.' + b"1" * 5000 + b"}",
    "duplicate keys": b'{"a":1,"a":2,"b":{"c":3,"c":4}}',
    "an empty key": b'{"":{"":null}}',
    "an empty object": b"{}",
    "a NUL": b'{"a\\u0000b":"\\u0000"}',
    "escapes that need not be": b'{"\\u0061":"\\/\\u00e9\\b\\f"}',
    "characters of all planes": '{"ключ":"é 漢字 😀\u2028\u2029\x7f"}'.encode(),
    "an escaped astral character": b'{"a":"\\ud83d\\ude00"}',
    "brackets, commas and quotes": b'{"a,}":"]}[{,\\"","b":"\\\\","c":"\\\\\\"]"}',
    "a string that ends with backslashes": b'{"a":"\\\\\\\\","b":["\\\\"]}',
    "a page's own keys": b'{"messages":[{"message_id":"A1","payload":{"payload":1},"time":"t"}]}',
    "a record's own keys": b'{"type":"RECORD","record":{"payload":"}]}"},"topic_id":0}',
    "invalid dates": b'{"date":"2024-13-45","at":"0000-00-00T99:99:99Z","t":"2024-01-01"}',
    "nanoseconds and offsets": b'{"at":"2024-02-29T23:59:60.123456789+05:30"}',
    "names that the SDK owns": b'{"_sdc_batched_at":1,"_sdc_extracted_at":"x"}',
    "white space": b'{ "a" : [ 1 , 2 ] ,\t"b" : { } }',
    "an array": b'[1,"2",null]',
    "a text": b'"a"',
    "a number": b"1.10",
    "null": b"null",
    "true": b"true",
    "900 levels": nested(900),
    # What msgspec rejects, so that the page is split by the scanner.
    "a lone surrogate": b'{"a":"\\ud800"}',
    "a lone low surrogate as a key": b'{"\\udc00x":1}',
    "1,000 levels": nested(1_000),
    "100,000 levels": nested(100_000),
}
SLOW = [PAYLOADS["a lone surrogate"], PAYLOADS["100,000 levels"]]


def emitted(outcome: Outcome) -> list[tuple[str, bytes]]:
    """The message ids and the payloads in the output, which need not be decodable."""
    lines = [line for line in outcome.stdout.split(b"\n") if line.startswith(b'{"type":"RECORD"')]
    found = [RECORD.fullmatch(line) for line in lines]
    assert all(found)
    return [(match[1].decode(), match[2]) for match in found if match]


def written(outcome: Outcome) -> list[bytes]:
    return [payload for _, payload in emitted(outcome)]


def test_every_payload_is_emitted_byte_for_byte(emulator, topic, run_tap):
    emulator.load(topic, PAYLOADS.values())
    run = run_tap(topics=[topic], batch_size=1)
    assert written(run) == list(PAYLOADS.values())
    assert len(consumed(emulator)) == len(PAYLOADS) + 1
    assert (run.exit_code, run.error_lines) == (0, [])


@pytest.mark.parametrize("beside", SLOW, ids=["a lone surrogate", "100,000 levels"])
def test_an_unusual_payload_does_not_change_others_of_its_page(emulator, topic, run_tap, beside):
    """All of them are emitted, in order, whichever way the page is split."""
    payloads = [beside, *PAYLOADS.values(), beside]
    loaded = emulator.load(topic, payloads)
    run = run_tap(topics=[topic])
    assert emitted(run) == list(zip(loaded, payloads, strict=True))
    assert len(consumed(emulator)) == 2
    assert (run.exit_code, run.error_lines) == (0, [])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["LF", "CRLF", "CR"])
@pytest.mark.parametrize("beside", [b"{}", SLOW[0]], ids=["plain", "a lone surrogate"])
def test_a_pretty_printed_payload_becomes_one_line(emulator, topic, run_tap, end, beside):
    pretty = end.join([b"{", b'\t"a": [', b'    1.10, "x\\ny\\r"', b"  ]", b"}"])
    emulator.load(topic, [pretty, beside])
    run = run_tap(topics=[topic])
    on_one_line = pretty.replace(b"\n", b" ").replace(b"\r", b" ")
    assert written(run) == [on_one_line, beside]
    assert [message["type"] for message in run.messages] == ["SCHEMA", "RECORD", "RECORD", "STATE"]
    assert run.records()[0]["payload"] == json.loads(pretty)


def test_a_page_that_is_not_utf8_is_retried_and_then_reported(emulator, topic, run_tap):
    loaded = emulator.load(topic, [b'{"n":1}', b'{"n":"hush\xff"}', b'{"n":3}'])

    run = run_tap(topics=[topic], batch_size=1, max_retry_secs=1)

    asked = consumed(emulator)
    assert len(asked) > 2
    assert {request.get("after_message_id") for request in asked[1:]} == {loaded[0]}
    assert ids(run) == loaded[:1]
    assert run.states[-1]["bookmarks"]["topic_1"]["replication_key_value"] == loaded[0]
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "topic_1 (topic 1): unexpected response" in line
    assert "hush" not in run.stderr


# As deep as some of them, the emulator itself cannot tell whether a message is an object.
OBJECTS = [
    text for name, text in PAYLOADS.items() if text.startswith(b"{") and "levels" not in name
]


def test_every_byte_of_a_record_is_published(emulator, topic, run_target):
    time = {"type": "string", "format": "date-time"}
    described = schema(date=time, t=time, at=time)
    done = run_target(described, *map(raw_record, OBJECTS), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [message.payload for message in emulator.messages(topic)] == OBJECTS


def test_a_deeply_nested_record_is_published_unchanged(emulator, run_target):
    """The service decides whether to accept it."""
    deep = b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    emulator.fault("status", status=500)
    run_target(schema(), raw_record(deep), max_retry_secs=0)
    (request,) = emulator.requests()
    assert request.body == b'{"payloads":[' + deep + b"]}"
