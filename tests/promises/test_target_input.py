"""Invalid input is reported in one line, after everything before it is published."""

import gzip
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.executables import command, environment
from tests.support.injection import injected
from tests.support.singer_lines import lines, orders, raw_record, record, schema, state

JSONL = {"format": "jsonl"}


def batch(*urls: str, compression: str | None = None) -> bytes:
    """A BATCH line of these files."""
    encoding = JSONL if compression is None else {**JSONL, "compression": compression}
    message = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": urls}
    return json.dumps(message).encode()


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
    "a batch without files": b'{"type":"BATCH","stream":"orders","encoding":{"format":"jsonl"}}',
    "a batch of another format": b'{"type":"BATCH","stream":"orders",'
    b'"encoding":{"format":"parquet"},"manifest":["file:///nowhere/a.parquet"]}',
    "a batch of no file": b'{"type":"BATCH","stream":"orders","encoding":{"format":"jsonl"},'
    b'"manifest":["file:///tmp/no-such-batch-file.jsonl"]}',
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


@pytest.mark.parametrize("compression", ["gzip", "none", None])
@pytest.mark.parametrize("settings", [{}, {"validate_records": True}])
def test_records_of_batch_files_are_published_like_others(
    emulator, topic, run_target, tmp_path, compression, settings
):
    """Their records keep their place between the others, 100 a request, digits unchanged."""
    manifest = []
    texts = [b'{"id":%d,"total":1.10}' % n for n in range(230)]
    for name, part in (("a", texts[:150]), ("an escaped name", texts[150:])):
        path = tmp_path / name
        packed = gzip.compress(lines(*part)) if compression == "gzip" else lines(*part)
        path.write_bytes(packed)
        manifest.append(path.as_uri())
    described = schema(id={"type": "integer"}, total={"type": "number"})
    files = batch(*manifest, compression=compression)
    fed = [described, record(id=-1), files, record(id=-2), state("all")]
    done = run_target(*fed, **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    published = [message.payload for message in emulator.messages(topic)]
    assert [json.loads(text)["id"] for text in published] == [-1, *range(230), -2]
    assert published[1:-1] == texts
    assert len(emulator.requests()) == 3


def test_batch_files_are_read_from_the_configured_storage(emulator, topic, run_target, tmp_path):
    """The target may see the files under another root than the tap."""
    (tmp_path / "a.jsonl").write_bytes(b'{"id":1}\n')
    config = {"encoding": JSONL, "storage": {"root": tmp_path.as_uri()}}
    done = run_target(schema(), batch("file:///elsewhere/a.jsonl"), batch_config=config)
    assert done.exit_code == 0
    assert emulator.payloads(topic) == [{"id": 1}]


@pytest.mark.parametrize("url", ["file:///a/..%2Fsecret.jsonl", "file:///a/%2e%2e/secret.jsonl"])
def test_a_batch_file_outside_of_the_configured_storage_is_not_read(
    emulator, run_target, tmp_path, url
):
    """Only the name of the file comes from the message."""
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "secret.jsonl").write_bytes(b'{"id":1}\n')
    config = {"encoding": JSONL, "storage": {"root": root.as_uri()}}
    done = run_target(schema(), batch(url), state("after"), batch_config=config)
    assert (done.exit_code, done.emitted_states) == (1, [])
    assert "the batch file secret.jsonl cannot be read: FileNotFoundError" in done.error_lines[0]
    assert emulator.requests() == []


@pytest.mark.parametrize("scheme", ["file", "local"])
@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
def test_only_regular_files_are_read(run_target, tmp_path, kind, scheme):
    """Opening a FIFO would hang, and /dev/zero has no end."""
    path = Path("/dev/zero") if kind == "device" else tmp_path / "a"
    if kind == "fifo":
        os.mkfifo(path)
    if kind == "folder":
        path.mkdir()
    done = run_target(schema(), batch(f"{scheme}://{path}"), state("after"))
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "line 2 of the input: stream orders: the batch file" in line
    assert "is not a regular file" in line


def test_a_small_file_that_decompresses_to_an_endless_line_does_not_fill_the_memory(
    target_config, tmp_path
):
    """A line has a limit, far above that of a message, and is decompressed in pieces."""
    path = tmp_path / "a.jsonl.gz"
    # Members of a gzip file may be concatenated.
    path.write_bytes(gzip.compress(b'{"id":"') + gzip.compress(b" " * 2**20) * 1024)
    line = batch(path.as_uri(), compression="gzip")
    target = command("target-workato-streams", "--config", target_config())
    done = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -v 700000; exec "$@"', "sh", *target],
        input=schema() + b"\n" + line,
        capture_output=True,
        check=False,
        timeout=60,
        env=environment(),
    )
    assert done.returncode == 1
    assert b"line 2 of the input: stream orders: a.jsonl.gz:1: longer than 64 MB" in done.stderr


@pytest.mark.parametrize("invalid", [b"not json", b'{"type":"RECORD","stream":"new","record":{}}'])
def test_an_invalid_line_is_reported_even_if_publishing_fails(emulator, run_target, invalid):
    """Both the line and the reason of the failure have to be fixed."""
    emulator.fault("status", status=403)
    done = run_target(schema(), record(id=1), invalid)
    assert done.exit_code == 1
    first, second = done.error_lines
    assert "line 3 of the input: " in first
    assert "HTTP 403" in second


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"id":1}\nnot json\n', "a.jsonl.gz:2"),
        (b"7\n", "a.jsonl.gz:1: not a JSON object"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_batch_file_ends_the_run_with_its_line(
    emulator, topic, run_target, tmp_path, content, reason
):
    """What precedes the damage is published; later states are not emitted."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"not gzip" if content is None else gzip.compress(content))
    line = batch(path.as_uri(), compression="gzip")
    done = run_target(schema(), record(id=0), state("before"), line, state("after"))
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert len(emulator.payloads(topic)) == (2 if content and b"id" in content else 1)
    assert "line 4 of the input" in done.error_lines[0]
    assert reason in done.error_lines[0]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("a.jsonl", "has no URL such as file:///folder/a.jsonl"),
        ("", "has no URL"),
        ("file://{folder}/no/such/a.jsonl", "cannot be read: FileNotFoundError"),
        ("s3://bucket/a.jsonl", "add [s3] to the path in the pip_url of target-workato-streams"),
        ("nonsense://bucket/a.jsonl", "is on nonsense://, which cannot be read"),
        ("http://[::1/a.jsonl", "cannot be read: ValueError"),
        ("file:///a\0.jsonl", "cannot be read: ValueError"),
    ],
)
def test_a_batch_file_that_cannot_be_found_is_named_with_line_stream_and_remedy(
    run_target, tmp_path, url, reason
):
    """Reading creates no folders."""
    line = batch(url.format(folder=tmp_path))
    env = injected(tmp_path / "site", "import sys; sys.modules['s3fs'] = None")  # not installed
    done = run_target(schema(), line, state("after"), env=env)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (error,) = done.error_lines
    assert "line 2 of the input: stream orders: the batch file" in error
    assert reason in error
    assert not (tmp_path / "no").exists()


def test_a_byte_order_mark_is_skipped(emulator, topic, run_target, tmp_path):
    """Some editors write one at the beginning of a file."""
    path, mark = tmp_path / "a.jsonl", b"\xef\xbb\xbf"
    path.write_bytes(mark + b'{"id":1}\n')
    done = run_target(mark + schema(), *orders(1), batch(path.as_uri()), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 0}, {"id": 1}]


@pytest.mark.parametrize(
    "described", [b"{}", b"true", b'{"properties":null}', b'{"type":"object"}']
)
@pytest.mark.parametrize("settings", [{}, {"validate_records": True}])
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
