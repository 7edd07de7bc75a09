"""A document that is not a catalog is rejected with the place that is wrong."""

from typing import Any

import pytest
from tap_workato_streams.discovery.catalog import parse_catalog
from tap_workato_streams.event_streams.errors import SettingError

TYPES = 'is not one of "string", "integer" or 6 other candidates'


# What a catalog, its first stream, its first metadata and the schema of a property may not be.
CATALOGS: list[tuple[Any, str]] = [
    ([], '[] is not of type "object"'),
    ({}, '"streams" is a required property'),
    ({"streams": None}, 'streams: null is not of type "array"'),
    ({"streams": ["orders"]}, 'streams[0]: "orders" is not of type "object"'),
    ({"streams": [{}]}, 'streams[0]: "tap_stream_id" is a required property'),
]


STREAMS: list[tuple[dict[str, Any], str]] = [
    ({"tap_stream_id": ""}, 'tap_stream_id: "" is shorter than 1 character'),
    ({"stream": ["a"]}, 'stream: ["a"] is not of types "null", "string"'),
    ({"key_properties": "a"}, 'key_properties: "a" is not of types "null", "array"'),
    ({"key_properties": [["a"]]}, 'key_properties[0]: ["a"] is not of type "string"'),
    ({"schema": []}, 'schema: [] is not of type "object"'),
    ({"metadata": {}}, 'metadata: {} is not of type "array"'),
    ({"metadata": [{"breadcrumb": []}]}, 'metadata[0]: "metadata" is a required property'),
]


METADATA: list[tuple[Any, dict[str, Any], str]] = [
    (None, {}, 'breadcrumb: null is not of type "array"'),
    (["payload", "a"], {}, 'breadcrumb[0]: "properties" was expected'),
    (["properties"], {}, 'breadcrumb: ["properties"] has less than 2 items'),
    ([], {"selected": "false"}, 'metadata.selected: "false" is not of types "null", "boolean"'),
    (
        *([], {"table-key-properties": 1}),
        'metadata.table-key-properties: 1 is not of types "null", "array"',
    ),
]


PROPERTIES: list[tuple[Any, str]] = [
    (True, ': true is not of type "object"'),
    ({"items": []}, '.items: [] is not of type "object"'),
    ({"type": [["x"]]}, f'.type[0]: ["x"] {TYPES}'),
    ({"type": "text"}, f'.type: "text" {TYPES}'),
    ({"anyOf": [{"enum": 5}]}, '.anyOf[0].enum: 5 is not of types "null", "array"'),
]


REJECTED_STREAMS = [
    *STREAMS,
    *[
        ({"metadata": [{"breadcrumb": crumb, "metadata": given}]}, f"metadata[0].{line}")
        for crumb, given, line in METADATA
    ],
    *[
        ({"schema": {"properties": {"id": schema}}}, f"schema.properties.id{line}")
        for schema, line in PROPERTIES
    ],
]


REJECTED = [
    *CATALOGS,
    *[
        ({"streams": [{"tap_stream_id": "a", **stream}]}, f"streams[0].{line}")
        for stream, line in REJECTED_STREAMS
    ],
]


@pytest.mark.parametrize(("document", "line"), REJECTED, ids=str)
def test_a_document_that_is_not_a_catalog_is_rejected(document, line):
    with pytest.raises(SettingError) as raised:
        parse_catalog(document)
    assert str(raised.value) == f"catalog: not a catalog: {line}"
