"""Records that must be decoded for the SDK lose nothing."""

import json
from typing import Any

import pytest

from tests.support.singer_lines import raw_record, record, schema, state
from tests.support.target import dead_letters_in

PROPERTIES: dict[str, Any] = {
    "id": {"type": "integer"},
    "total": {"type": "number"},
    "when": {"type": "string", "format": "date-time"},
    "lines": {"type": "object", "properties": {"sku": {"type": "string"}}},
}
TEXT = (
    '{"id":7,"total":1.10,"when":"2024-01-01T00:00:00.123456789Z","big":%s,"exp":1E5,'
    '"odd":"\\ud800","zero":-0.0,"small":0.0000001,"huge":1e400,'
    '"_sdc_batched_at":"mine","":"é"}' % ("9" * 5000)
).encode()


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_maps": {"orders": {}}},
        {"flattening_enabled": True, "flattening_max_depth": 1},
    ],
)
def test_decoded_records_keep_their_digits_dates_and_fields(emulator, topic, run_target, settings):
    done = run_target(schema(**PROPERTIES), raw_record(TEXT), state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    (message,) = emulator.messages(topic)

    def exactly(text: bytes) -> object:
        return json.loads(text, parse_int=str, parse_float=str)

    assert exactly(message.payload) == exactly(TEXT)


def test_stream_maps_rename_filter_and_compute(emulator, topic, run_target):
    """A renamed stream is routed by its new name; a stream that is removed needs no topic."""
    maps = {
        "orders": {"__alias__": "sales", "__filter__": "id > 1", "id": "id", "double": "id * 2"},
        "noise": "__NULL__",
    }
    fed = [schema(), schema("noise"), *(record(id=n) for n in range(4)), record("noise", id=1)]
    settings = {"topics": {"sales": topic}, "stream_maps": maps}
    done = run_target(*fed, state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 2, "double": 4}, {"id": 3, "double": 6}]


def test_flattening_publishes_flat_records(emulator, topic, run_target):
    done = run_target(
        schema(**PROPERTIES),
        record(id=1, lines={"sku": "A"}),
        flattening_enabled=True,
        flattening_max_depth=2,
    )
    assert done.exit_code == 0
    assert emulator.payloads(topic) == [{"id": 1, "lines__sku": "A"}]


def test_metadata_is_added_only_if_configured(emulator, topic, run_target):
    """The values of the SDK's columns come from the RECORD message."""
    line = json.loads(record(id=1)) | {"time_extracted": "2024-01-01T00:00:00Z", "version": 7}
    fed = [schema(), json.dumps(line).encode()]
    run_target(*fed)
    run_target(*fed, add_record_metadata=True)
    bare, stamped = emulator.payloads(topic)
    assert bare == {"id": 1}
    assert stamped["_sdc_extracted_at"] == "2024-01-01T00:00:00Z"
    assert stamped["_sdc_table_version"] == 7
    assert stamped["_sdc_batched_at"]


def test_only_a_record_nested_too_deeply_is_rejected(emulator, topic, run_target, tmp_path):
    deep = b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    fed = [schema(), record(id=1), raw_record(deep), record(id=2), state("all")]
    settings = dead_letters_in(tmp_path / "dead.jsonl")
    done = run_target(*fed, stream_maps={"*": {}}, **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(topic) == [{"id": 1}, {"id": 2}]
    assert "1 dead letter" in done.stderr


@pytest.mark.parametrize("on_unmapped", ["fail", "skip"])
def test_a_record_nested_too_deeply_follows_the_maps_of_its_stream(
    emulator, topic, run_target, tmp_path, on_unmapped
):
    """It is rejected in the topic of the renamed stream, and ignored if a map removes it."""
    deep = b'{"deep":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    fed = [schema(), schema("noise"), raw_record(deep), raw_record(deep, "noise"), record(id=1)]
    dead = tmp_path / "dead.jsonl"
    done = run_target(
        *[*fed, state("all")],
        topics={"sales": topic},
        on_unmapped_stream=on_unmapped,
        stream_maps={"orders": {"__alias__": "sales"}, "noise": "__NULL__"},
        **dead_letters_in(dead),
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert dead.read_bytes().count(b'{"type":"RECORD","stream":"orders"') == 1
    assert b"noise" not in dead.read_bytes()
    assert emulator.payloads(topic) == [{"id": 1}]


def test_a_flattening_that_fails_names_the_column_and_the_remedy(run_target):
    described = schema(a__b={}, a={"type": "object", "properties": {"b": {}}})
    done = run_target(described, flattening_enabled=True, flattening_max_depth=1)
    (line,) = done.error_lines
    assert "map or flattening failed (Duplicate column name produced in schema: a__b)" in line
    assert "set another flattening_separator" in line


@pytest.mark.parametrize("expression", ["no_such_function(id)", "int(note)", "id / 0"])
def test_a_stream_map_that_fails_is_named_with_stream_and_line(run_target, expression):
    """The error is one line, without the record."""
    maps = {"orders": {"id": "id", "computed": expression}}
    described = schema(id={"type": "integer"}, note={"type": "string"})
    fed = [described, record(id=1, note="confidential"), state("after")]
    done = run_target(*fed, stream_maps=maps)
    assert (done.exit_code, done.emitted_states) == (1, [])
    (line,) = done.error_lines
    assert "of the input: stream orders: its stream map or flattening failed" in line
    assert "confidential" not in done.stderr
