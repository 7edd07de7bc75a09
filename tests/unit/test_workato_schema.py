"""The schema of a stream in Workato's format, for a topic that is created."""

from typing import Any

import pytest
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
