"""Invalid input is reported in one line, after everything before it is published."""

import pytest

from tests.support.singer_lines import lines, orders, raw_record, record, schema, state

SECRET = "content-not-to-log"
MALFORMED = {
    "no JSON": b"content-not-to-log",
    "no object": b'["content-not-to-log"]',
    "no number": b'{"type":"RECORD","stream":"orders","record":{"content-not-to-log":NaN}}',
    "no UTF-8": b'{"type":"RECORD","stream":"orders","record":{"a":"content-not-to-log\xff"}}',
    "a surrogate in UTF-8": b'{"type":"RECORD","stream":"orders","record":{"a":"\xed\xa0\x80"}}',
    "two messages": b'{"type":"STATE","value":{}}{"content-not-to-log":1}',
    "no type": b'{"stream":"orders","record":{"a":"content-not-to-log"}}',
    "an unknown type": b'{"type":"content-not-to-log"}',
    "a stream that is no text": b'{"type":"RECORD","stream":7,"record":{}}',
    "no stream": b'{"type":"RECORD","record":{"a":"content-not-to-log"}}',
    "no record": b'{"type":"RECORD","stream":"orders"}',
    "a record that is a list": b'{"type":"RECORD","stream":"orders","record":["no"]}',
    "a record before its schema": b'{"type":"RECORD","stream":"unknown","record":{}}',
    "a schema without a stream": b'{"type":"SCHEMA","schema":{"properties":{}}}',
    "no schema": b'{"type":"SCHEMA","stream":"orders"}',
    "a schema that is no object": b'{"type":"SCHEMA","stream":"orders","schema":7}',
    "a schema beyond any stack": b'{"type":"SCHEMA","stream":"orders","schema":{"properties":{"a":'
    + b"[" * 3000
    + b"]" * 3000
    + b"}}}",
    "keys that are no texts": b'{"type":"SCHEMA","stream":"a","schema":{},"key_properties":[1]}',
    "no state": b'{"type":"STATE"}',
    "a state that is no object": b'{"type":"STATE","value":7}',
}


@pytest.mark.parametrize("problem", MALFORMED)
def test_an_invalid_line_ends_the_run_after_everything_before_it_is_published(
    emulator, topic, run_target, problem
):
    """One line gives its number and the reason, not its content."""
    before, after = [*orders(3), state("before")], [*orders(3, start=3), state("after")]
    done = run_target(schema(), *before, MALFORMED[problem], *after)
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == [0, 1, 2]
    (line,) = done.error_lines
    assert "line 6 of the input: " in line
    assert SECRET not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("before", [[], [*orders(3), state("before")]], ids=["first", "later"])
def test_a_batch_message_ends_the_run_with_the_remedy(emulator, topic, run_target, before):
    """Only what precedes it is published."""
    batch = b'{"type":"BATCH","stream":"orders","encoding":{"format":"jsonl"},"manifest":[]}'
    done = run_target(schema(), *before, batch, *orders(3, start=3), state("after"))
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}] if before else [])
    assert len(emulator.payloads(topic)) == len(before[:-1])
    assert bool(emulator.requests()) == bool(before)
    (line,) = done.error_lines
    assert f"line {len(before) + 2} of the input: stream orders: BATCH messages are not" in line
    assert "remove batch_config from the tap's settings" in line


def test_a_truncated_input_ends_the_run(emulator, topic, start_target):
    """After a tap dies within a line, all complete lines are published and the run fails."""
    cut = lines(schema(), *orders(3), state("before"), *orders(1, start=3))[:-10]
    target = start_target()
    target.feed_bytes(cut)
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert len(emulator.payloads(topic)) == 3
    assert "line 6 of the input: the input ends within this line" in done.error_lines[0]


def test_lines_may_have_any_length_and_arrive_in_any_chunks(emulator, topic, start_target):
    """Empty lines and carriage returns do not matter, and the last line needs no newline."""
    texts = [b'{"id":%d,"pad":"%b"}' % (n, b"x" * 70_000 * n) for n in range(12)]
    text = lines(schema(), b"", *(raw_record(text) + b"\r" for text in texts), state("all"))[:-1]
    target = start_target()
    for start in range(0, len(text), 33_333):
        target.feed_bytes(text[start : start + 33_333])
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [message.payload for message in emulator.messages(topic)] == texts


def test_input_may_come_from_a_file(emulator, topic, run_target, tmp_path):
    path = tmp_path / "in.singer"
    path.write_bytes(lines(schema(), *orders(120), state("all")))
    done = run_target(args=["--input", path])
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 120


@pytest.mark.parametrize("invalid", [b"not json", b'{"type":"RECORD","stream":"new","record":{}}'])
def test_an_invalid_line_is_reported_even_if_publishing_fails(emulator, run_target, invalid):
    """Both the line and the reason of the failure have to be fixed."""
    emulator.fault("status", status=403)
    done = run_target(schema(), record(id=1), invalid)
    assert done.exit_code == 1
    first, second = done.error_lines
    assert "line 3 of the input: " in first
    assert "HTTP 403" in second


def test_a_byte_order_mark_is_skipped(emulator, topic, run_target):
    """Some editors write one at the beginning of a file."""
    done = run_target(b"\xef\xbb\xbf" + schema(), *orders(1), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 0}]


@pytest.mark.parametrize(
    "described", [b"{}", b"true", b'{"properties":null}', b'{"type":"object"}']
)
@pytest.mark.parametrize("settings", [{}, {"stream_maps": {"*": {}}}])
def test_a_schema_without_properties_is_open(emulator, topic, run_target, settings, described):
    line = b'{"type":"SCHEMA","stream":"orders","schema":%b,"key_properties":[]}' % described
    done = run_target(line, record(id=1, note="x"), state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 1, "note": "x"}]


def test_activate_version_is_ignored(emulator, topic, run_target):
    version = b'{"type":"ACTIVATE_VERSION","stream":"orders","version":7}'
    done = run_target(schema(), version, *orders(1), version, state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 1
    assert "WARNING" not in done.stderr
