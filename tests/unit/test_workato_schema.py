"""Schemas in Workato's format: of a topic that is created, and of one that is read."""

from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator
from tap_workato_streams.discovery.schemas import from_workato
from tap_workato_streams.records.columns import message_schema
from target_workato_streams.routing.workato_schema import to_workato

SCHEMAS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"type": "string"}, {"type": "string"}),
    ({"type": ["null", "integer"]}, {"type": "integer", "optional": True}),
    ({"type": ["string", "null"], "format": "date-time"}, {"type": "date_time", "optional": True}),
    ({"type": ["integer", "number"]}, {"type": "number"}),
    ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, {"type": "integer", "optional": True}),
    ({"type": "array", "items": {"type": "integer"}}, {"type": "array", "of": "integer"}),
    (
        {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
        {"type": "array", "of": "array"},
    ),
    ({"type": "object"}, {"type": "object", "properties": []}),
    ({"properties": {}}, {"type": "object", "properties": []}),
    (
        {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string"}]},
        {"type": "string"},
    ),
]


@pytest.mark.parametrize(("given", "expected"), SCHEMAS)
def test_json_schema_is_converted_to_workatos_format(given, expected):
    described = {"properties": {"line_total": given}, "required": ["line_total"]}
    (field,), omitted = to_workato(described)
    assert omitted == []
    whole = {"name": "line_total", "label": "Line total", "optional": False, **expected}
    assert field == whole


def test_nested_schemas_are_converted():
    inner = {"type": "object", "properties": {"sku": {"type": "string"}}, "required": ["sku"]}
    properties = {"one": inner, "many": {"type": "array", "items": inner}}
    fields, _ = to_workato({"properties": properties})
    sku = {"name": "sku", "label": "Sku", "optional": False, "type": "string"}
    assert fields[0]["properties"] == [sku]
    assert (fields[1]["of"], fields[1]["properties"]) == ("object", [sku])
    assert [field["optional"] for field in fields] == [True, True]


ANYTHING: list[object] = [
    {},
    True,
    False,
    None,
    7,
    {"type": None},
    {"type": []},
    {"type": ["nonsense"]},
    {"type": "null"},
    {"type": ["integer", "string"]},
    {"type": "array"},
    {"type": "array", "items": {}},
    {"type": "array", "items": True},
    {"anyOf": None},
    {"anyOf": [True, {"type": "string"}]},
    {"anyOf": [{"type": "string"}, {"type": "object", "properties": {}}]},
    {"$ref": "#/definitions/a"},
]


@pytest.mark.parametrize("described", ANYTHING)
def test_a_field_that_may_be_anything_is_left_out_of_the_schema(described):
    """Each type of Workato's format would reject some of its values."""
    fields, omitted = to_workato(
        {"properties": {"a": described, "b": {"type": "object", "properties": {"c": described}}}}
    )
    assert [field["name"] for field in fields] == ["b"]
    assert fields[0]["properties"] == []
    assert omitted == ["a", "b.c"]


OPEN = {"additionalProperties": True}


def nullable(*kinds: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"type": [*kinds, "null"], **more}


WORKATO: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a string": ({"type": "string"}, nullable("string")),
    "no type": ({}, nullable("string")),
    "a null type": ({"type": None}, nullable("string")),
    "an integer": ({"type": "integer"}, nullable("integer")),
    "a number": ({"type": "number"}, nullable("number")),
    "a boolean": ({"type": "boolean"}, nullable("boolean")),
    "a date": ({"type": "date"}, nullable("string", format="date")),
    "a date_time": ({"type": "date_time"}, nullable("string", format="date-time")),
    "a timestamp": ({"type": "timestamp"}, nullable("string", format="date-time")),
    "a type of tomorrow": ({"type": "hologram"}, {}),
    "not optional": ({"type": "integer", "optional": False}, nullable("integer")),
    "a label": (
        {"type": "integer", "label": "How many", "control_type": "integer"},
        nullable("integer", title="How many"),
    ),
    "an object, one of whose fields has no name": (
        {"type": "object", "properties": [{"name": "x", "type": "date"}, {}, {"name": "y"}]},
        nullable(
            "object",
            properties={"x": nullable("string", format="date"), "y": nullable("string")},
            **OPEN,
        ),
    ),
    "an object of unknown fields": ({"type": "object"}, nullable("object", properties={}, **OPEN)),
    "an array of scalars": (
        {"type": "array", "of": "integer"},
        nullable("array", items=nullable("integer")),
    ),
    "an array of unknown": ({"type": "array"}, nullable("array", items=nullable("string"))),
    "an array of objects": (
        {"type": "array", "of": "object", "properties": [{"name": "x", "type": "boolean"}]},
        nullable("array", items=nullable("object", properties={"x": nullable("boolean")}, **OPEN)),
    ),
}


@pytest.mark.parametrize(("field", "expected"), WORKATO.values(), ids=WORKATO.keys())
def test_workatos_format_becomes_json_schema(field, expected):
    """All types and levels may be null, since the format cannot rule it out."""
    schema = from_workato([{"name": "f", **field}])
    assert schema == nullable("object", properties={"f": expected}, **OPEN)
    for validator in (Draft7Validator, Draft202012Validator):
        validator.check_schema(message_schema({"payload": schema}))
