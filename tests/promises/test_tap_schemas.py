"""Where the schema of a payload comes from, and what it says."""

import json
from typing import Any

import pytest

from tests.support.executables import Outcome, write_json
from tests.support.tap import discover
from tests.support.tap_output import ago, consumed, ids

Schema = dict[str, Any]

OPEN = {"additionalProperties": True}
UNPACKED = {"record_format": "unpacked"}
OPEN_PAYLOAD = {"type": ["object", "null"], **OPEN}


def nullable(*kinds: str, **more: Any) -> Schema:  # noqa: ANN401 - JSON
    return {"type": [*kinds, "null"], **more}


def columns_of(schema: Schema) -> Schema:
    """The columns of unpacked records for the fields of payloads."""
    others = {"message_id", "topic_id", "time", "_rescued"}
    return {name: each for name, each in schema["properties"].items() if name not in others}


def columns_in(run: Outcome) -> Schema:
    """The same, in the first line."""
    return columns_of(json.loads(run.stdout.splitlines()[0])["schema"])


def payload_schema(run: Outcome) -> Schema:
    """The schema in the first line: others may be nested too deeply to be decoded."""
    found: Schema = json.loads(run.stdout.splitlines()[0])["schema"]["properties"]["payload"]
    return found


def test_the_schema_of_the_settings_goes_before_all_others(emulator, run_tap, tmp_path, developer):
    """`schema`, which may be a file, before the Developer API, and that before a sample."""
    fields = [{"name": "total", "type": "number", "optional": True, "label": "Total"}]
    topic = emulator.create_topic(schema=fields)
    emulator.load(topic, [{"sampled": 1}])
    given: Schema = {"a": nullable("number")}
    schema: Schema = {"type": "object", "properties": given}
    path = str(write_json(tmp_path / "schema.json", schema))
    described = {"total": nullable("number", title="Total")}
    sampled = {"sampled": nullable("integer")}

    every = {**developer, **UNPACKED}
    cases: list[tuple[Schema, int, dict[str, Any]]] = [
        (given, 0, {"topics": [{"id": topic, "schema": schema}], **every}),
        (given, 0, {"topics": [{"id": topic, "schema": path}], **every}),
        (described, 0, {"topics": [topic], **every}),
        (described, 0, every),
        (sampled, 2, {"topics": [topic], **UNPACKED}),
    ]
    for expected, samples, settings_ in cases:
        emulator.clear_requests()
        run = run_tap("--discover", **settings_)
        [stream] = json.loads(run.stdout)["streams"]
        assert columns_of(stream["schema"]) == expected
        assert len(consumed(emulator)) == samples
        assert bool(emulator.requests(operation="topics")) == ("developer_api_token" in settings_)


def test_a_sample_is_the_oldest_page_and_the_newest(emulator, topic, run_tap):
    """A payload that cannot be inspected is ignored, and emitted all the same."""
    deep = b'{"d":' + b"[" * 400 + b"]" * 400 + b"}"
    odd = [b"[" * 5000 + b"]" * 5000, deep, b'{"n":' + b"9" * 5000 + b"}"]
    loaded = emulator.load(topic, [*odd, *([{"n": 1}] * 50), {"n": 1.5, "late": "x"}])

    run = run_tap(topics=[topic], **UNPACKED)

    assert [body.get("after_message_id") for body in consumed(emulator)[:2]] == [None, loaded[49]]
    assert columns_in(run) == {
        "d": nullable("object", "array"),
        "n": nullable("number"),
        "late": nullable("string"),
    }
    assert run.stdout.count(b'{"type":"RECORD"') == len(loaded)
    assert run.exit_code == 0


@pytest.mark.parametrize("idle_secs", [1, 600, 2 * 86_400], ids=["now", "minutes", "days"])
@pytest.mark.parametrize("count", [320, 5000])
def test_a_sample_has_new_messages_however_long_the_topic_has_been_idle(
    emulator, topic, run_tap, idle_secs, count
):
    """Otherwise, a column would be an integer although the latest values are fractions.

    It takes five requests, whatever the number of messages.
    """
    times = [ago(idle_secs + 60 * n) for n in range(count, 0, -1)]
    payloads = [{"amount": 1 if n < count * 0.7 else 9.99} for n in range(count)]
    emulator.load(topic, payloads, times=times)
    run = run_tap("--discover", topics=[topic], **UNPACKED)
    [stream] = json.loads(run.stdout)["streams"]
    assert columns_of(stream["schema"]) == {"amount": nullable("number")}
    assert len(consumed(emulator)) <= 5


def test_a_sample_has_pages_of_batch_size(emulator, topic, run_tap):
    """With large messages, a larger page would take longer than `request_timeout_secs`."""
    emulator.load(topic, [{"n": 1}] * 20)
    run_tap("--discover", topics=[topic], **UNPACKED, batch_size=5)
    assert {body["batch_size"] for body in consumed(emulator)} == {5}


@pytest.mark.parametrize("payloads", [[], [b"[" * 5000 + b"]" * 5000]], ids=["empty", "odd"])
def test_a_sample_that_shows_nothing_has_no_columns(emulator, topic, run_tap, payloads):
    emulator.load(topic, payloads)
    run = run_tap(topics=[topic], **UNPACKED)
    assert columns_in(run) == {}
    assert len(consumed(emulator)) == (4 if payloads else 2)
    assert run.exit_code == 0


def test_no_sample_is_taken_where_a_catalog_names_the_schema(emulator, topic, run_tap):
    emulator.load(topic, [{"n": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    loaded = emulator.load(topic, [{"other": "x"}])
    emulator.clear_requests()
    run = run_tap(topics=[topic], catalog=catalog, **UNPACKED)
    assert [request.get("after_message_id") for request in consumed(emulator)] == [None, loaded[0]]
    assert columns_in(run)["n"] == nullable("integer")
    assert len(ids(run)) == 2


def test_references_of_a_schema_are_resolved(topic, run_tap, tmp_path):
    """It becomes a part of the record's schema, where its own references would lead nowhere."""
    money = {"type": "object", "properties": {"value": {"type": "number"}}}
    to_money = {"$ref": "#/$defs/money"}
    properties = {"total": to_money, "parts": {"type": "array", "items": to_money}}
    schema = {"type": "object", "$defs": {"money": money}, "properties": properties}
    path = write_json(tmp_path / "schema.json", schema)
    run = run_tap(topics=[{"id": topic, "schema": str(path)}])
    resolved = {"total": money, "parts": {"type": "array", "items": money}}
    assert payload_schema(run)["properties"] == resolved


def test_a_payload_that_does_not_fit_goes_through_unchanged(emulator, topic, run_tap):
    """No digit, date or key is altered, even if the payload is not an object."""
    properties = {"n": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}}
    schema = {"properties": properties, "required": ["n"], "additionalProperties": False}
    payloads = [b'{"n":"1","at":"2024-13-45","more":{"a":1.10}}', b"{}", b"[1.10]", b"null"]
    emulator.load(topic, payloads)

    run = run_tap(topics=[{"id": topic, "schema": schema}])

    assert payload_schema(run) == schema
    for line, payload in zip(run.stdout.splitlines()[1:], payloads, strict=False):
        assert b',"payload":%b},"time_extracted"' % payload in line
    assert len(ids(run)) == len(payloads)
    assert (run.exit_code, run.error_lines) == (0, [])
