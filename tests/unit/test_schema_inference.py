"""Which columns a sample shows, and which a declared schema names."""

from typing import Any

import pytest
from tap_workato_streams.records.columns import from_schema, infer_columns, merged, schemas

Schema = dict[str, Any]

OBJECT = {"type": ["object", "null"]}
ARRAY = {"type": ["array", "null"]}
JSON = {"type": ["object", "array", "null"]}
TEXT = {"type": ["string", "null"]}
INTEGER = {"type": ["integer", "null"]}
NUMBER = {"type": ["number", "null"]}
BOOLEAN = {"type": ["boolean", "null"]}
DATE = {"type": ["string", "null"], "format": "date"}
DATE_TIME = {"type": ["string", "null"], "format": "date-time"}

# The values of one field in several payloads, as they are written, and its column.
SAMPLES: dict[str, tuple[list[str], Schema | None]] = {
    "integers": (["1", "-2", "0"], INTEGER),
    "the largest integers": (["9223372036854775807", "-9223372036854775808"], INTEGER),
    "an integer beyond 64 bits says nothing": (["1", "9223372036854775808"], INTEGER),
    "integers beyond 64 bits alone": (["9223372036854775808"], None),
    "a fraction among integers": (["1"] * 60 + ["1.5"], NUMBER),
    "a point, though nothing follows it": (["1.0"], NUMBER),
    "an exponent": (["1E5"], NUMBER),
    "booleans": (["true", "false"], BOOLEAN),
    "booleans and integers": (["true", "1"], TEXT),
    "numbers and texts": (["1", '"x"'], TEXT),
    "texts": (['"x"', '""'], TEXT),
    "dates": (['"2024-01-31"', '"2024-02-29"'], DATE),
    "one date": (['"2024-01-31"'], TEXT),
    "one date and nulls": (['"2024-01-31"', "null", "null"], TEXT),
    "a day that does not exist": (['"2024-01-31"', '"2023-02-29"'], TEXT),
    "date-times": (['"2024-01-31T01:02:03Z"', '"2024-01-31T01:02:03.123456+02:00"'], DATE_TIME),
    "a date-time without offset": (['"2024-01-31T01:02:03Z"', '"2024-01-31T01:02:03"'], TEXT),
    "a date-time of nanoseconds": (
        ['"2024-01-31T01:02:03Z"', '"2024-01-31T01:02:03.1234567Z"'],
        TEXT,
    ),
    "dates and date-times": (['"2024-01-31"', '"2024-01-31T01:02:03Z"'], TEXT),
    "null": (["null", "null"], None),
    "null and an integer": (["null", "1"], INTEGER),
    "objects": (['{"x":1}', "{}"], JSON),
    "arrays of anything": (['[1,"a",{}]', "[]"], JSON),
    "mostly objects": (['{"x":1}', '{"x":2}', '"none"'], JSON),
    "an object as often as an array": (['{"x":1}', "[1]"], JSON),
    "mostly texts": (['"a"', '"b"', "[1]"], TEXT),
    "nothing that can be stored": (['"\\u0000"', '"\\ud800"'], None),
}


@pytest.mark.parametrize(("values", "expected"), SAMPLES.values(), ids=SAMPLES.keys())
def test_the_values_of_a_sample_decide_the_type(values, expected):
    columns = infer_columns([f'{{"f":{value}}}'.encode() for value in values], 0)
    assert schemas(columns) == ({"f": expected} if expected else {})


def test_only_what_becomes_a_column_is_typed():
    """Objects as deep as flattening goes, nothing within arrays, and never `required`."""
    samples = [
        b'{"o":{"p":{"q":1,"r":[{"s":1}]},"e":{}},"l":[{"x":1}]}',
        b'{"o":{"p":{"q":1.5}}}',
        b'{"o":null}',
    ]
    p = {**OBJECT, "properties": {"q": NUMBER, "r": JSON}}
    objects = [
        JSON,
        {**OBJECT, "properties": {"p": JSON, "e": JSON}},
        {**OBJECT, "properties": {"p": p, "e": JSON}},
    ]
    for levels, o in enumerate(objects):
        assert schemas(infer_columns(samples, levels)) == {"o": o, "l": JSON}


def test_a_sample_that_is_no_object_says_nothing():
    deep = b'{"d":%b%b}' % (b"[" * 5000, b"]" * 5000)
    samples = [b"null", b"[1]", b'"x"', deep, b'{"n":1}', b'{"":1,"\\u0000":2,"\\ud800":3}']
    assert schemas(infer_columns(samples, 0)) == {"n": INTEGER}


DECLARED: dict[str, tuple[Schema, Schema]] = {
    "rules that a value can break": (
        {"type": "string", "maxLength": 3, "pattern": "x", "enum": ["a"], "title": "A"},
        {**TEXT, "title": "A"},
    ),
    "a format that is no column type": ({"type": "string", "format": "uuid"}, TEXT),
    "a date-time": ({"type": ["null", "string"], "format": "date-time"}, DATE_TIME),
    "several types": ({"type": ["integer", "string"]}, {"type": ["string", "integer", "null"]}),
    "integer and number": ({"type": ["integer", "number"]}, NUMBER),
    "no type": ({"title": "Hologram"}, {**TEXT, "title": "Hologram"}),
    "true": (True, TEXT),  # type: ignore[dict-item]
    "only null": ({"type": "null"}, TEXT),
    "nonsense": ({"type": 5, "anyOf": 1, "enum": {}, "properties": 3, "format": []}, TEXT),
    "a choice": ({"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]}, DATE),
    "constants": ({"enum": [1, 2.5, None]}, NUMBER),
    "an array with items": ({"type": "array", "items": {"type": "integer"}}, ARRAY),
    "an object without fields": ({"type": "object", "properties": {}}, OBJECT),
    "an object": (
        {"type": "object", "required": ["x"], "properties": {"x": {"type": "integer"}}},
        {**OBJECT, "properties": {"x": INTEGER}},
    ),
    "a choice with an object": (
        {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"x": {"type": "boolean"}}}]},
        {**OBJECT, "properties": {"x": BOOLEAN}},
    ),
}


@pytest.mark.parametrize(("declared", "expected"), DECLARED.values(), ids=DECLARED.keys())
def test_of_a_declared_schema_a_column_keeps_what_it_can_hold(declared, expected):
    """Every column is nullable, and no rule is left that could fail the load."""
    schema = {"type": "object", "properties": {"f": declared}, "required": ["f"]}
    assert schemas(from_schema(schema, 1)) == {"f": expected}


def test_columns_that_come_first_keep_their_type():
    inner = {**OBJECT, "properties": {"x": TEXT}}
    first = from_schema({"properties": {"a": INTEGER, "o": inner}}, 1)
    more = {**OBJECT, "properties": {"x": INTEGER, "y": DATE}}
    second = from_schema({"properties": {"a": NUMBER, "o": more, "b": TEXT}}, 1)
    both = {**OBJECT, "properties": {"x": TEXT, "y": DATE}}
    assert schemas(merged(first, second)) == {"a": INTEGER, "o": both, "b": TEXT}
