"""Invalid input is reported in one line, after everything before it is published."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.injection import injected
from tests.target.singer import lines, orders, raw_record, record, schema, state

if TYPE_CHECKING:
    from pathlib import Path

    from workato_streams_emulator import Emulator

    from tests.target.conftest import RunTarget, StartTarget

SECRET = "content-not-to-log"
MALFORMED = {
    "no JSON": b"content-not-to-log",
    "no object": b'["content-not-to-log"]',
    "half a line": b'{"type":"RECORD","stream":"orders","record":{"a":"content-not-to-log',
    "no number": b'{"type":"RECORD","stream":"orders","record":{"content-not-to-log":NaN}}',
    "no digits": b'{"type":"RECORD","stream":"orders","record":{"content-not-to-log":01}}',
    "no escape": b'{"type":"RECORD","stream":"orders","record":{"a":"content-not-to-log\\x"}}',
    "no UTF-8": b'{"type":"RECORD","stream":"orders","record":{"a":"content-not-to-log\xff"}}',
    "a surrogate in UTF-8": b'{"type":"RECORD","stream":"orders","record":{"a":"\xed\xa0\x80"}}',
    "two messages": b'{"type":"STATE","value":{}}{"content-not-to-log":1}',
    "no type": b'{"stream":"orders","record":{"a":"content-not-to-log"}}',
    "an empty type": b'{"type":""}',
    "an unknown type": b'{"type":"content-not-to-log"}',
    "a type that is no text": b'{"type":7}',
    "a stream that is no text": b'{"type":"RECORD","stream":7,"record":{}}',
    "no stream": b'{"type":"RECORD","record":{"a":"content-not-to-log"}}',
    "no record": b'{"type":"RECORD","stream":"orders"}',
    "a record that is a list": b'{"type":"RECORD","stream":"orders","record":["no"]}',
    "a record that is null": b'{"type":"RECORD","stream":"orders","record":null}',
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
    emulator: Emulator, topic: int, run_target: RunTarget, problem: str
) -> None:
    """One line gives its number and the reason, not its content."""
    done = run_target(
        schema(),
        *orders(3),
        state("before"),
        MALFORMED[problem],
        *orders(3, start=3),
        state("after"),
    )
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == [0, 1, 2]
    (line,) = done.error_lines
    assert "line 6 of the input: " in line
    assert SECRET not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_truncated_input_ends_the_run(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """After a tap dies within a line, all complete lines are published and the run fails."""
    target = start_target()
    cut = lines(schema(), *orders(3), state("before"), *orders(1, start=3))[:-10]
    target.feed_bytes(cut)
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert len(emulator.payloads(topic)) == 3
    assert "line 6 of the input: the input ends within this line" in done.error_lines[0]


def test_the_last_line_needs_no_newline(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """A file need not end with a newline."""
    target = start_target()
    target.feed_bytes(lines(schema(), *orders(2), state("all"))[:-1])
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 2


def test_lines_may_have_any_length_and_arrive_in_any_chunks(
    emulator: Emulator, topic: int, start_target: StartTarget
) -> None:
    """Reads do not end where lines do; empty lines and carriage returns do not matter."""
    texts = [b'{"id":%d,"pad":"%b"}' % (n, b"x" * 70_000 * n) for n in range(12)]
    fed = lines(schema(), b"", *(raw_record(text) + b"\r" for text in texts), state("all"))
    target = start_target()
    for start in range(0, len(fed), 33_333):
        target.feed_bytes(fed[start : start + 33_333])
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [message.payload for message in emulator.messages(topic)] == texts


def test_input_may_come_from_a_file(
    emulator: Emulator, topic: int, run_target: RunTarget, tmp_path: Path
) -> None:
    """`--input` reads a file in place of standard input."""
    path = tmp_path / "in.singer"
    path.write_bytes(lines(schema(), *orders(120), state("all")))
    done = run_target(args=["--input", path])
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 120


@pytest.mark.parametrize("compression", ["gzip", "none", None])
@pytest.mark.parametrize("settings", [{}, {"validate_records": True}])
def test_records_of_batch_files_are_published_like_others(  # noqa: PLR0913, PLR0917 - a table
    emulator: Emulator,
    topic: int,
    run_target: RunTarget,
    tmp_path: Path,
    compression: str | None,
    settings: dict[str, Any],
) -> None:
    """Their records keep their place between the others, 100 a request, digits unchanged."""
    manifest = []
    texts = [b'{"id":%d,"total":1.10}' % n for n in range(230)]
    for name, part in (("a", texts[:150]), ("b", texts[150:])):
        path = tmp_path / name
        packed = gzip.compress(lines(*part)) if compression == "gzip" else lines(*part)
        path.write_bytes(packed)
        manifest.append(path.as_uri())
    encoding = {"format": "jsonl", **({"compression": compression} if compression else {})}
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}
    done = run_target(
        schema(id={"type": "integer"}, total={"type": "number"}),
        record(id=-1),
        json.dumps(batch).encode(),
        record(id=-2),
        state("all"),
        **settings,
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    published = [message.payload for message in emulator.messages(topic)]
    assert [json.loads(text)["id"] for text in published] == [-1, *range(230), -2]
    assert published[1:-1] == texts
    assert len(emulator.requests()) == 3


def test_batch_files_are_read_from_the_configured_storage(
    emulator: Emulator, topic: int, run_target: RunTarget, tmp_path: Path
) -> None:
    """The target may see the files under another root than the tap."""
    (tmp_path / "a.jsonl").write_bytes(b'{"id":1}\n')
    encoding = {"format": "jsonl"}
    manifest = ["file:///elsewhere/a.jsonl"]
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}
    config = {"encoding": encoding, "storage": {"root": tmp_path.as_uri()}}
    done = run_target(schema(), json.dumps(batch).encode(), batch_config=config)
    assert done.exit_code == 0
    assert emulator.payloads(topic) == [{"id": 1}]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'{"id":1}\nnot json\n', "a.jsonl.gz:2"),
        (b"7\n", "not an object"),
        (None, "cannot be read"),
    ],
)
def test_a_damaged_batch_file_ends_the_run_with_its_line(  # noqa: PLR0913, PLR0917 - a table
    emulator: Emulator,
    topic: int,
    run_target: RunTarget,
    tmp_path: Path,
    content: bytes | None,
    reason: str,
) -> None:
    """What precedes the damage is published; later states are not emitted."""
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(b"not gzip" if content is None else gzip.compress(content))
    encoding = {"format": "jsonl", "compression": "gzip"}
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": [path.as_uri()]}
    done = run_target(
        schema(), record(id=0), state("before"), json.dumps(batch).encode(), state("after")
    )
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
        ("s3://bucket/a.jsonl", "install target-workato-streams[s3]"),
        ("nonsense://bucket/a.jsonl", "is on nonsense://, which cannot be read"),
        ("http://[::1/a.jsonl", "cannot be read: ValueError"),
        ("file:///a\0.jsonl", "cannot be read: ValueError"),
    ],
)
def test_a_batch_file_that_cannot_be_found_is_named_with_line_stream_and_remedy(
    run_target: RunTarget, tmp_path: Path, url: str, reason: str
) -> None:
    """Reading creates no folders."""
    encoding = {"format": "jsonl"}
    manifest = [url.format(folder=tmp_path)]
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": manifest}
    # As if s3fs was not installed.
    hidden = """
        import sys
        sys.modules["s3fs"] = None
    """
    env = injected(tmp_path / "site", hidden)
    done = run_target(schema(), json.dumps(batch).encode(), state("after"), env=env)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "line 2 of the input: stream orders: the batch file" in line
    assert reason in line
    assert not (tmp_path / "no").exists()


def test_a_batch_file_may_have_an_escaped_name(
    emulator: Emulator, topic: int, run_target: RunTarget, tmp_path: Path
) -> None:
    """A URL escapes spaces."""
    path = tmp_path / "a file.jsonl"
    path.write_bytes(b'{"id":1}\n')
    encoding = {"format": "jsonl"}
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": [path.as_uri()]}
    assert run_target(schema(), json.dumps(batch).encode()).exit_code == 0
    assert emulator.payloads(topic) == [{"id": 1}]


def test_a_byte_order_mark_is_skipped(
    emulator: Emulator, topic: int, run_target: RunTarget, tmp_path: Path
) -> None:
    """Some editors write one at the beginning of a file."""
    path, mark = tmp_path / "a.jsonl", b"\xef\xbb\xbf"
    path.write_bytes(mark + b'{"id":1}\n')
    encoding = {"format": "jsonl"}
    batch = {"type": "BATCH", "stream": "orders", "encoding": encoding, "manifest": [path.as_uri()]}
    done = run_target(mark + schema(), *orders(1), json.dumps(batch).encode(), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 0}, {"id": 1}]


@pytest.mark.parametrize(
    "described", [b"{}", b"true", b'{"properties":null}', b'{"type":"object"}']
)
@pytest.mark.parametrize("settings", [{}, {"validate_records": True}])
def test_a_schema_without_properties_is_open(
    emulator: Emulator,
    topic: int,
    run_target: RunTarget,
    settings: dict[str, Any],
    described: bytes,
) -> None:
    """Its records are published with all fields."""
    line = b'{"type":"SCHEMA","stream":"orders","schema":%b,"key_properties":[]}' % described
    done = run_target(line, record(id=1, note="x"), state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 1, "note": "x"}]


def test_activate_version_is_ignored(emulator: Emulator, topic: int, run_target: RunTarget) -> None:
    """ACTIVATE_VERSION messages cause no warning."""
    version = b'{"type":"ACTIVATE_VERSION","stream":"orders","version":7}'
    done = run_target(schema(), version, *orders(1), version, state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 1
    assert "WARNING" not in done.stderr
