"""Where the schema of a payload comes from, and what it says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator
from tap_workato_streams.discovery.schemas import (
    OPEN_PAYLOAD,
    from_sample,
    from_workato,
    record_schema,
)

from tests.executables import write_json
from tests.tap.singer import consumed, ids

if TYPE_CHECKING:
    from pathlib import Path

    from tests.emulator.control import Emulator
    from tests.executables import Outcome
    from tests.tap.conftest import RunTap

Schema = dict[str, Any]

OPEN = {"additionalProperties": True}
FIELDS: list[Schema] = [{"name": "total", "type": "number", "optional": True, "label": "Total"}]
WORKATO = {
    "a string": ({"type": "string"}, {"type": ["string", "null"]}),
    "no type": ({}, {"type": ["string", "null"]}),
    "a null type": ({"type": None}, {"type": ["string", "null"]}),
    "an integer": ({"type": "integer"}, {"type": ["integer", "null"]}),
    "a number": ({"type": "number"}, {"type": ["number", "null"]}),
    "a boolean": ({"type": "boolean"}, {"type": ["boolean", "null"]}),
    "a date": ({"type": "date"}, {"type": ["string", "null"], "format": "date"}),
    "a date_time": ({"type": "date_time"}, {"type": ["string", "null"], "format": "date-time"}),
    "a timestamp": ({"type": "timestamp"}, {"type": ["string", "null"], "format": "date-time"}),
    "a type of tomorrow": ({"type": "hologram"}, {}),
    "not optional": ({"type": "integer", "optional": False}, {"type": ["integer", "null"]}),
    "a label": (
        {"type": "integer", "label": "How many", "control_type": "integer"},
        {"type": ["integer", "null"], "title": "How many"},
    ),
    "an object": (
        {"type": "object", "properties": [{"name": "x", "type": "date"}, {"name": "y"}]},
        {
            "type": ["object", "null"],
            "properties": {
                "x": {"type": ["string", "null"], "format": "date"},
                "y": {"type": ["string", "null"]},
            },
            **OPEN,
        },
    ),
    "an object of unknown fields": (
        {"type": "object"},
        {"type": ["object", "null"], "properties": {}, **OPEN},
    ),
    "an array of scalars": (
        {"type": "array", "of": "integer"},
        {"type": ["array", "null"], "items": {"type": ["integer", "null"]}},
    ),
    "an array of unknown": (
        {"type": "array"},
        {"type": ["array", "null"], "items": {"type": ["string", "null"]}},
    ),
    "an array of objects": (
        {"type": "array", "of": "object", "properties": [{"name": "x", "type": "boolean"}]},
        {
            "type": ["array", "null"],
            "items": {
                "type": ["object", "null"],
                "properties": {"x": {"type": ["boolean", "null"]}},
                **OPEN,
            },
        },
    ),
    "an array within an object within an array": (
        {
            "type": "array",
            "of": "object",
            "properties": [
                {
                    "name": "x",
                    "type": "object",
                    "properties": [{"name": "y", "type": "array", "of": "date"}],
                }
            ],
        },
        {
            "type": ["array", "null"],
            "items": {
                "type": ["object", "null"],
                "properties": {
                    "x": {
                        "type": ["object", "null"],
                        "properties": {
                            "y": {
                                "type": ["array", "null"],
                                "items": {"type": ["string", "null"], "format": "date"},
                            }
                        },
                        **OPEN,
                    }
                },
                **OPEN,
            },
        },
    ),
}
SAMPLES: dict[str, tuple[list[object], Schema]] = {
    "nothing": ([], OPEN_PAYLOAD),
    "empty objects": ([{}, {}], {"type": ["object", "null"]}),
    "integers and decimals": (
        [{"n": 1}, {"n": 1.5}],
        {"type": ["object", "null"], "properties": {"n": {"type": ["number", "null"]}}, **OPEN},
    ),
    "numbers and texts": (
        [{"n": 1}, {"n": "x"}],
        {
            "type": ["object", "null"],
            "properties": {"n": {"type": ["integer", "string", "null"]}},
            **OPEN,
        },
    ),
    "a value that is sometimes null": (
        [{"n": None}, {"n": [1]}],
        {
            "type": ["object", "null"],
            "properties": {
                "n": {"type": ["array", "null"], "items": {"type": ["integer", "null"]}}
            },
            **OPEN,
        },
    ),
    "an object that is sometimes null": (
        [{"n": {"x": 1}}, {"n": None}],
        {
            "type": ["object", "null"],
            "properties": {
                "n": {
                    "type": ["object", "null"],
                    "properties": {"x": {"type": ["integer", "null"]}},
                    **OPEN,
                }
            },
            **OPEN,
        },
    ),
    "a value that is always null": (
        [{"n": None}],
        {"type": ["object", "null"], "properties": {"n": {}}, **OPEN},
    ),
    "objects, arrays and texts in one place": (
        [{"n": {"x": 1}}, {"n": [1]}, {"n": "x"}, {"n": True}],
        {
            "type": ["object", "null"],
            "properties": {"n": {"type": ["array", "boolean", "object", "string", "null"]}},
            **OPEN,
        },
    ),
    "a list of anything": (
        [{"n": [1, "a", {"x": 1}, None]}],
        {
            "type": ["object", "null"],
            "properties": {
                "n": {
                    "type": ["array", "null"],
                    "items": {"type": ["integer", "object", "string", "null"]},
                }
            },
            **OPEN,
        },
    ),
}


def payload_schema(run: Outcome) -> Schema:
    [schema] = [message["schema"] for message in run.messages if message["type"] == "SCHEMA"]
    found: Schema = schema["properties"]["payload"]
    return found


def check(schema: Schema) -> None:
    Draft7Validator.check_schema(schema)
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("field", "expected"), WORKATO.values(), ids=WORKATO.keys())
def test_workatos_format_becomes_json_schema(field: Schema, expected: Schema) -> None:
    """Every type, nesting, and null in all places, since the format cannot rule it out."""
    schema = from_workato([{"name": "f", **field}])

    assert schema == {"type": ["object", "null"], "properties": {"f": expected}, **OPEN}
    check(record_schema(schema))


def test_a_field_without_a_name_is_passed_over() -> None:
    """It ends no run, and the fields beside it count."""
    assert from_workato([{"type": "integer"}, {"name": "a"}])["properties"] == {
        "a": {"type": ["string", "null"]}
    }


@pytest.mark.parametrize(("payloads", "expected"), SAMPLES.values(), ids=SAMPLES.keys())
def test_a_sample_becomes_json_schema(payloads: list[object], expected: Schema) -> None:
    """Everything may be null or absent, and nothing that flattening would drop is left."""
    schema = from_sample(payloads)

    assert schema == expected
    check(record_schema(schema))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(json_values, max_size=4))
def test_the_payloads_of_a_sample_fit_its_schema(payloads: list[object]) -> None:
    """Whatever they are; and the schema is valid, with a type or nothing in every place."""
    schema = from_sample(payloads)

    check(schema)
    for payload in payloads:
        Draft202012Validator(schema).validate(payload)
    assert "anyOf" not in json.dumps(_without_names(schema))


def _without_names(schema: Any) -> Any:  # noqa: ANN401
    """A schema whose properties are a list, so that only keywords are left as keys."""
    if not isinstance(schema, dict):
        return None
    inner = [_without_names(each) for each in schema.get("properties", {}).values()]
    return {**schema, "properties": inner, "items": _without_names(schema.get("items"))}


def test_without_a_schema_a_payload_is_an_open_object(emulator: Emulator, run_tap: RunTap) -> None:
    """No sample and no other request is made for it."""
    topic = emulator.create_topic()

    run = run_tap(topics=[topic])

    assert payload_schema(run) == OPEN_PAYLOAD
    assert [r.operation for r in emulator.requests()] == ["consume"]


def test_the_schema_of_the_settings_goes_before_all_others(
    emulator: Emulator, run_tap: RunTap, tmp_path: Path
) -> None:
    """`schema` and `schema_path` before the Developer API, and that before a sample."""
    topic = emulator.create_topic(schema=FIELDS)
    emulator.load(topic, [{"sampled": 1}])
    given: Schema = {"type": "object", "properties": {"a": {"type": "number"}}}
    path = str(write_json(tmp_path / "schema.json", given))
    developer = {
        "developer_api_token": emulator.developer_token,
        "developer_api_url": emulator.url,
    }
    described = from_workato(FIELDS)
    sampled = from_sample([{"sampled": 1}])

    every = {**developer, "infer_schema": True}
    cases: list[tuple[Schema, int, dict[str, Any]]] = [
        (given, 0, {"topics": [{"id": topic, "schema": given}], **every}),
        (given, 0, {"topics": [{"id": topic, "schema_path": path}], **every}),
        (described, 0, {"topics": [topic], **every}),
        (described, 0, every),
        (sampled, 1, {"topics": [topic], "infer_schema": True}),
        (described, 0, {"topics": [topic], **developer}),
    ]
    for expected, samples, settings_ in cases:
        emulator.clear_requests()
        run = run_tap("--discover", **settings_)
        [stream] = json.loads(run.stdout)["streams"]
        assert stream["schema"]["properties"]["payload"] == expected
        assert len(consumed(emulator)) == samples
        assert bool(emulator.requests(operation="topics")) == ("developer_api_token" in settings_)


def test_a_sample_is_one_page_from_the_earliest(emulator: Emulator, run_tap: RunTap) -> None:
    """What cannot be decoded has no say, and is passed on all the same."""
    topic = emulator.create_topic()
    deep = b'{"d":' + b"[" * 400 + b"]" * 400 + b"}"
    odd = [b"[" * 5000 + b"]" * 5000, deep, b'{"n":' + b"9" * 5000 + b"}"]
    loaded = emulator.load(topic, [*odd, {"n": 1, "t": "x"}, {"n": None}])

    run = run_tap(topics=[topic], infer_schema=True, batch_size=2)

    assert consumed(emulator)[0] == {"batch_size": 50}
    assert payload_schema_of_head(run) == from_sample([{"n": 1, "t": "x"}, {"n": None}])
    assert run.stdout.count(b'{"type":"RECORD"') == len(loaded)
    assert run.exit_code == 0


def payload_schema_of_head(run: Outcome) -> Schema:
    """The schema in the first line: others may be nested too deeply to be read here."""
    found: Schema = json.loads(run.stdout.splitlines()[0])["schema"]["properties"]["payload"]
    return found


@pytest.mark.parametrize("payloads", [[], [b"[" * 5000 + b"]" * 5000]], ids=["empty", "odd"])
def test_a_sample_that_shows_nothing_leaves_the_payload_open(
    emulator: Emulator, run_tap: RunTap, payloads: list[bytes]
) -> None:
    """Of an empty topic, or of payloads that cannot be decoded."""
    topic = emulator.create_topic()
    emulator.load(topic, payloads)

    run = run_tap(topics=[topic], infer_schema=True)

    assert payload_schema_of_head(run) == OPEN_PAYLOAD
    assert len(consumed(emulator)) == (3 if payloads else 2)
    assert run.exit_code == 0


def test_no_sample_is_taken_where_a_catalog_names_the_schema(
    emulator: Emulator, run_tap: RunTap
) -> None:
    """The catalog's schema is written, not one of today's sample."""
    topic = emulator.create_topic()
    emulator.load(topic, [{"n": 1}])
    catalog = json.loads(run_tap("--discover", topics=[topic], infer_schema=True).stdout)
    loaded = emulator.load(topic, [{"other": "x"}])
    emulator.clear_requests()

    run = run_tap(topics=[topic], infer_schema=True, catalog=catalog)

    assert [request.get("after_message_id") for request in consumed(emulator)] == [None, loaded[0]]
    assert payload_schema(run)["properties"] == {"n": {"type": ["integer", "null"]}}
    assert len(ids(run)) == 2


def test_references_of_a_schema_are_resolved(
    emulator: Emulator, run_tap: RunTap, tmp_path: Path
) -> None:
    """It becomes a part of the record's schema, where its own references would lead nowhere."""
    topic = emulator.create_topic()
    money = {"type": "object", "properties": {"value": {"type": "number"}}}
    path = write_json(
        tmp_path / "schema.json",
        {
            "type": "object",
            "$defs": {"money": money},
            "properties": {
                "total": {"$ref": "#/$defs/money"},
                "parts": {"type": "array", "items": {"$ref": "#/$defs/money"}},
            },
        },
    )

    run = run_tap(topics=[{"id": topic, "schema_path": str(path)}])

    assert payload_schema(run)["properties"] == {
        "total": money,
        "parts": {"type": "array", "items": money},
    }


def test_a_payload_that_does_not_fit_goes_through_unchanged(
    emulator: Emulator, run_tap: RunTap
) -> None:
    """Of another type, with other keys, or no object at all: no digit, date or key is altered."""
    topic = emulator.create_topic()
    schema = {
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "at": {"type": "string", "format": "date-time"},
            "flag": {"type": "boolean"},
        },
        "required": ["n"],
        "additionalProperties": False,
    }
    payloads = [
        b'{"n":"1","at":"2024-13-45","flag":"true","more":{"a":1.10}}',
        b'{"flag":0,"at":"2024-01-01"}',
        b"[1.10]",
        b"null",
    ]
    emulator.load(topic, payloads)

    run = run_tap(topics=[{"id": topic, "schema": schema}])

    assert payload_schema(run) == schema
    for line, payload in zip(run.stdout.splitlines()[1:], payloads, strict=False):
        assert b',"payload":%b},"time_extracted"' % payload in line
    assert len(ids(run)) == len(payloads)
    assert (run.exit_code, run.error_lines) == (0, [])


def test_inferred_columns_are_all_there_when_flattened(emulator: Emulator, run_tap: RunTap) -> None:
    """Every column of every record of the sample is in the SCHEMA, whatever its values."""
    topic = emulator.create_topic()
    emulator.load(
        topic,
        [
            {"n": 1, "s": "x", "list": None, "odd": {"x": 1}, "o": {"d": 1.5, "l": [1]}, "e": None},
            {"n": 2, "s": None, "list": [1], "odd": "x", "o": None, "e": None},
        ],
    )

    run = run_tap(
        topics=[topic], infer_schema=True, flattening_enabled=True, flattening_max_depth=3
    )

    [schema] = [message["schema"] for message in run.messages if message["type"] == "SCHEMA"]
    types = {name: about["type"] for name, about in schema["properties"].items()}
    first, second = run.records()
    # A payload that is null where another has columns stands beside them: a JSON object never is.
    assert first.keys() | (second.keys() - {"payload__o"}) == types.keys()
    assert types == {
        "message_id": "string",
        "topic_id": "integer",
        "time": "string",
        "payload__n": ["integer", "null"],
        "payload__s": ["string", "null"],
        "payload__list": ["string", "null"],
        "payload__odd": ["string", "null"],
        "payload__o__d": ["number", "null"],
        "payload__o__l": ["string", "null"],
        "payload__e": ["null", "string"],
    }
    assert first["payload__odd"] == '{"x":1}'
    assert second["payload__list"] == "[1]"
