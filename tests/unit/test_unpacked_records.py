"""Payloads as columns: what fits, what is rescued, and that nothing is lost between them."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from singer_sdk.helpers._flattening import FlatteningOptions, flatten_record, flatten_schema
from tap_workato_streams.records.columns import (
    Columns,
    Layout,
    from_schema,
    infer_columns,
    merged,
    schemas,
)
from tap_workato_streams.records.evolution import MAX_COLUMNS, MODES, Evolution, from_bookmark
from tap_workato_streams.records.record_builder import RecordBuilder

from tests.support.payload_text import Number, leaves, loads, original, payloads

Schema = dict[str, Any]

UNPACKED = Layout(unpacked=True)
FIXED: dict[str, Any] = {"message_id": "A1", "topic_id": 1, "time": "2024-01-31T01:02:03Z"}


def flattened(*, unpacked: bool, levels: int = 2, separator: str = "__") -> Layout:
    options = FlatteningOptions(enabled=True, max_level=levels, separator=separator)
    return Layout(unpacked=unpacked, flattening=options)


def columns_of(**types: str | list[str]) -> Columns:
    return from_schema({"properties": {name: {"type": kind} for name, kind in types.items()}}, 0)


def builder(
    columns: Columns, evolution: Evolution | str = "rescue", layout: Layout = UNPACKED
) -> RecordBuilder:
    if isinstance(evolution, str):
        evolution = Evolution(layout, evolution)
    return RecordBuilder(columns, evolution)


def build(builder: RecordBuilder, *payloads: str) -> list[dict[str, Any]]:
    """The records of a page, which are written, without the message's own fields."""
    page = builder.build([payload.encode() for payload in payloads])
    assert page.problem is None
    for values in page.rescued:
        builder.count(values)
    return [loads(b"{%b}" % body) for body in page.bodies]


def one(columns: Columns, payload: str, evolution: Evolution | str = "rescue") -> dict[str, Any]:
    [record] = build(builder(columns, evolution), payload)
    return record


N = Number

# For each type of a column, values that fit, and values that do not.
VALUES = {
    "integer": (
        ["1", "-0", "9223372036854775807", "null"],
        ["1.0", "1e3", "9223372036854775808", '"1"', "true", "[]", "{}"],
    ),
    "number": (
        ["1", "1.10", "-0", "1E5", "9" * 100, "0E-10", "0e-9999", "5e-324", "null"],
        [
            *("1e400", "1e-400", "1e-00999999", "0e-10000", "1.5E99999", '"1"', "false"),
            *("9" * 5000, "0." + "3" * 5000, "0." + "0" * 400 + "1", "0." + "0" * 230 + "1e-99"),
        ],
    ),
    "string": (
        ['""', '"a\\\\u0000b"', '"\\ud83d\\ude00"', "null"],
        ["{}", "[]", '"\\u0000"', '"\\ud800"'],
    ),
    "boolean": (["true", "false", "null"], ["0", '"true"']),
    "object": (["{}", '{"a":[1]}', "null"], ["[]", '"{}"', '{"a":"\\u0000"}', '{"\\ud800":1}']),
    "array": (["[]", '[1,"a",{}]', "null"], ["{}", '["\\u0000"]', "[" * 2000 + "]" * 2000]),
}


# The same for dates, as texts.
DATES = {
    "date": (
        ["2024-01-31", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31"],
        ["2023-02-29", "1900-02-29", "2024-13-01", "2024-04-31", "0000-01-01", "2024-1-1"],
    ),
    "date-time": (
        [
            *("2024-01-31T01:02:03Z", "2024-02-29T01:02:03.1+02:00", "2024-01-31T01:02:03.123456Z"),
            *("2024-01-31T23:59:59-15:59", "2024-01-31T01:02:03.000+0000", "2024-01-31T01:02:03"),
            *("2024-01-31 01:02:03Z", "2024-01-31t01:02:03Z", "2024-01-31 01:02:03.5+00"),
            *("2024-01-31T01:02Z", "2024-01-31 01:02", "2024-01-31"),
        ],
        [
            *("2024-01-31T01", "2024-01-31T01:02:03z", "2023-02-29T01:02:03Z", "soon"),
            *("2024-01-31T24:00:00Z", "2024-01-31T01:02:60Z", "2024-01-31T01:02:03.1234567Z"),
            *("2024-01-31T01:02:03+0100", "2024-01-31T01:02:03 UTC", "2024-01-31T01:02:03+16:00"),
            *("2024-01-31T01:02:03Z\\n", "\\u0662024-01-31T01:02:03Z"),
        ],
    ),
}
CASES = [
    *[
        ({"type": kind}, value, value in fitting)
        for kind, (fitting, others) in VALUES.items()
        for value in (*fitting, *others)
    ],
    *[
        ({"type": "string", "format": kind}, f'"{text}"', text in fitting)
        for kind, (fitting, others) in DATES.items()
        for text in (*fitting, *others)
    ],
]


@pytest.mark.parametrize(("schema", "value", "fits"), CASES)
def test_a_value_is_in_its_column_or_rescued(schema, value, fits):
    """Every digit is as published; values that no database can store are rescued as JSON text."""
    columns = from_schema({"properties": {"f": schema, "other": {"type": "integer"}}}, 0)
    [body] = builder(columns).build([f'{{"f":{value},"other":1}}'.encode()]).bodies
    is_text = any(each in value for each in ("\\u0000", "\\ud800", "[[")) or len(value) >= 5000
    is_text |= value in {"1e-00999999", "0e-10000", "1.5E99999"}
    rescued = json.dumps(value) if is_text else value
    expected = f'"f":{value},"other":1' if fits else f'"other":1,"_rescued":{{"/f":{rescued}}}'
    assert body == expected.encode()


@pytest.mark.parametrize("value", ["17", "9.90", "-0", "1E5", "1e-99999", "9" * 5000, "true"])
def test_a_text_column_takes_numbers_and_booleans_as_json_text(value):
    """A column of dates does not, nor does a run that has to end at another type."""
    body = f'{{"f":{value},"at":{value}}}'
    columns = from_schema({"properties": {"f": {}, "at": {"type": "string", "format": "date"}}}, 0)
    record = one(columns, body)
    assert (record["f"], record["_rescued"].keys()) == (value, {"/at"})
    assert builder(columns, "fail").build([f'{{"f":{value}}}'.encode()]).problem == (
        "/f does not fit the schema"
    )


def test_a_value_keeps_its_bytes():
    """White space, digits and escapes included; of a field that comes twice, the last value."""
    columns = columns_of(a="number", b="object", c=["string", "integer"])
    payload = b'{ "a" : 2 , "b":{ "x":1E5},"a":1.10,"c":"\\u00e9\\n" }'
    [body] = builder(columns).build([payload]).bodies
    assert body == b'"a":1.10,"b":{ "x":1E5},"c":"\\u00e9\\n"'


def test_names_that_are_taken_get_a_prefix_and_the_second_is_rescued():
    names = ("time", "message_id", "payload_time", "_rescued")
    columns = columns_of(**dict.fromkeys(names, "string"))
    payload = '{"time":"t","message_id":"m","payload_time":"p","_rescued":"r"}'

    assert one(columns, payload) == {
        "payload_message_id": "m",
        "payload_time": "p",
        "_rescued": {"/time": "t", "/_rescued": "r"},
    }
    schema = UNPACKED.record_schema(builder(columns).columns)
    assert list(schema["properties"]) == [
        *("message_id", "topic_id", "time", "_rescued", "payload_message_id", "payload_time")
    ]


@pytest.mark.parametrize(
    "name", ["x" * 64, "ä" * 32, "100%", "_sdc_extracted_at", "xmin", "CTID", ""]
)
def test_names_that_loaders_cannot_hold_are_rescued(name):
    """Each of them blocks a load or is overwritten; see the page about topics as tables."""
    record = one({}, json.dumps({name: 1, "x" * 63: 2}), "add_columns")
    assert record == {"x" * 63: N("2"), "_rescued": {f"/{name}": N("1")}}


def test_a_field_whose_name_cannot_be_stored_is_rescued_as_json_text():
    """The pointer is that of its object, because a pointer contains names, which are escaped."""
    record = one({}, '{"a/b~c":1,"\\u0000":2,"\\ud800":{"x":1.10}}')
    text = '{"\\u0000":2,"\\ud800":{"x":1.10}}'
    assert record == {"_rescued": {"/a~1b~0c": N("1"), "": text}}


def test_text_that_looks_like_rescued_json_is_distinguished():
    """A published string is never taken for the JSON text of another value."""
    text = '"a\\u0000b"'
    for published in (json.dumps(text), '"\\"\\\\ud800\\""', '"1e999999"'):
        record = one(columns_of(a="integer"), f'{{"a":{published}}}')
        assert record == {"_rescued": {"/a": published}}
        assert original(record, UNPACKED, {}) == {"a": loads(published)}


# The type of a column, by the first value of a field; empty if it waits for another value.
FIRST_VALUES: dict[tuple[str, ...], list[str]] = {
    ("number",): ["1", "-0", "1.5", "1E5", "1e400", "9007199254740992", "9223372036854775808"],
    ("integer",): ["9007199254740993", "-9223372036854775808"],
    ("string",): ['"x"', '"12"', '"2024-01-31"'],
    ("boolean",): ["true"],
    ("object", "array"): ["{}", '{"x":1}', "[]"],
    (): ["null", '"\\u0000"', "9" * 5000],
}


@pytest.mark.parametrize(
    ("kinds", "value"), [(kinds, value) for kinds, found in FIRST_VALUES.items() for value in found]
)
def test_the_first_value_of_a_field_decides_its_type(kinds, value):
    topic = builder({}, "add_columns")
    topic.build([f'{{"a":{value}}}'.encode(), b'{"b":"x"}'])
    types = {name: column.types for name, column in topic.columns.items()}
    assert types == {**({"a": kinds} if kinds else {}), "b": ("string",)}


@pytest.mark.parametrize("first", ["{}", '{"x":null}', '{"x":{}}'])
def test_an_object_that_is_flattened_has_to_wait_for_a_value_in_it(first):
    topic = builder({}, "add_columns", flattened(unpacked=True))
    assert build(topic, f'{{"o":{first}}}', '{"o":{"x":{"y":1}}}') == [
        {"_rescued": {"/o": loads(first)}},
        {"o": {"x": {"y": N("1")}}},
    ]


@pytest.mark.parametrize(
    ("payloads", "columns"),
    [
        # An object gets further columns, and a value that comes between is rescued.
        (
            ['{"a":{"b":true}}', '{"a":true}', '{"a":{"c":1}}'],
            {"a": {"b": "boolean", "c": "number"}},
        ),
        # The name of a column that an object would have is free.
        (['{"a":1}', '{"a":{"b":1}}', '{"a__b":"x"}'], {"a": "number", "a__b": "string"}),
    ],
)
@pytest.mark.parametrize("is_deferred", [False, True])
def test_the_first_value_decides_whether_a_field_is_an_object(is_deferred, payloads, columns):
    """Also while its column waits for the next run."""
    evolution = Evolution(flattened(unpacked=True), "add_columns", is_deferred=is_deferred)
    topic = builder({}, evolution)
    topic.build([payload.encode() for payload in payloads])
    assert {
        name: {inner: each.types[0] for inner, each in column.fields.items()}
        if column.fields
        else column.types[0]
        for name, column in topic.next_columns.items()
    } == columns


def test_of_names_that_differ_only_by_case_the_first_becomes_the_column():
    """Databases that ignore case would load both into one column."""
    topic = builder({}, "add_columns")
    assert build(topic, '{"total":1,"TOTAL":2}', '{"Total":3,"Time":4,"MESSAGE_ID":5}') == [
        {"total": N("1"), "_rescued": {"/TOTAL": N("2")}},
        {"payload_Time": N("4"), "payload_MESSAGE_ID": N("5"), "_rescued": {"/Total": N("3")}},
    ]
    assert build(topic, '{"_RESCUED":1}') == [{"_rescued": {"/_RESCUED": N("1")}}]
    topic = builder({}, "add_columns", flattened(unpacked=True))
    assert build(topic, '{"o":{"x":1,"X":2}}') == [
        {"o": {"x": N("1")}, "_rescued": {"/o/X": N("2")}}
    ]


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        ('{"a":1,"b":2}', "/b is not in the schema"),
        ('{"a":"x"}', "/a does not fit the schema"),
        ("[1]", "its payload does not fit the schema"),
    ],
)
def test_fail_ends_the_page_before_the_message(payload, words):
    """Null has no type that could not fit."""
    page = builder(columns_of(a="integer"), "fail").build(
        [b'{"a":1,"c":null}', payload.encode(), b'{"a":2}']
    )
    assert (page.bodies, page.problem) == ([b'"a":1,"_rescued":{"/c":null}'], words)


def test_what_is_counted_is_bounded():
    topic = builder({})
    for number in range(50):
        build(topic, f'{{"f{number}":1}}')
    assert str(topic.without_column).startswith("/f0 (1), /f1 (1), ")
    assert str(topic.without_column).endswith("/f19 (1), other fields (30)")


def test_field_names_without_end_do_not_become_columns_without_end():
    topic = builder({}, "add_columns")
    payload = {f"f{number}": 1 for number in range(MAX_COLUMNS + 10)}
    [record] = build(topic, json.dumps(payload))
    assert len(topic.columns) == MAX_COLUMNS
    assert len(record["_rescued"]) == 10


@pytest.mark.parametrize(
    ("mode", "prefix"),
    [("add_columns", "f"), ("add_columns", "%"), ("add_columns", "f" * 70), ("rescue", "f")],
)
def test_field_names_without_end_need_no_memory_without_end(mode, prefix):
    topic = builder({}, mode)

    def memory_of_pages(first: int, last: int) -> int:
        for page in range(first, last):
            texts = (f'"{prefix}{page}_{number}":1' for number in range(3000))
            topic.build([b"{%b}" % ",".join(texts).encode()])
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        settled = memory_of_pages(0, 4)
        later = memory_of_pages(4, 8)
    finally:
        tracemalloc.stop()
    # Remembering 12,000 fields takes 2 MB and more.
    assert later - settled < 500_000


def test_deselected_fields_of_rescued_objects_are_not_rescued():
    deselected = {("o", "email"), ("n", "deep", "email")}
    topic = builder(columns_of(o="integer"), Evolution(UNPACKED, "rescue", deselected=deselected))
    payload = '{"o":{"email":"hush","x":1.10},"n":{"deep":{"email":"hush","y":[1E5]}}}'
    assert build(topic, payload, '{"o":["x"]}') == [
        {"_rescued": {"/o": {"x": N("1.10")}, "/n": {"deep": {"y": [N("1E5")]}}}},
        {"_rescued": {"/o": ["x"]}},
    ]


def test_a_selected_value_is_not_dropped_silently():
    """If rescued data is deselected, the value is counted, or the run fails."""
    deselected = {("_rescued",)}
    topic = builder(columns_of(a="integer"), Evolution(UNPACKED, "rescue", deselected=deselected))
    failing = builder(columns_of(a="integer"), Evolution(UNPACKED, "fail", deselected=deselected))
    assert build(topic, '{"a":"x","b":1}', "[1]") == [{}, {}]
    assert str(topic.unfitting) == "/a (1), the payload (1)"
    assert failing.build([b'{"b":1}', b'{"a":"x"}']).problem == "/a does not fit the schema"


def test_a_name_is_shown_on_one_line():
    """Whoever publishes chooses it, and must not write lines into the log."""
    name = "a\nERROR b" + "c" * 1000
    payload = json.dumps({name: 1})
    shown = f"/a?ERROR b{'c' * 90}..."
    assert builder({}, "fail").build([payload.encode()]).problem == f"{shown} is not in the schema"
    topic = builder({})
    build(topic, payload)
    assert str(topic.without_column) == f"{shown} (1)"


def test_selection_below_a_payload():
    layout = flattened(unpacked=False)
    columns = columns_of(a="integer", b="integer")
    only_b = Evolution(layout, "rescue", deselected={("payload", "a")})
    nothing = Evolution(layout, "rescue", deselected={("payload",)})
    payload = '{"a":"x","b":1,"c":1}'
    record = {"payload": {"b": N("1")}, "_rescued": {"/c": N("1")}}
    assert build(builder(columns, only_b), payload) == [record]
    assert build(builder(columns, nothing), payload, "null") == [{}, {}]


def test_an_object_that_leaves_no_column_is_rescued():
    columns = infer_columns([b'{"o":{"x":1}}'], 1)
    topic = builder(columns, layout=flattened(unpacked=True))
    for value in ("null", "{}", "[1]", "1"):
        assert build(topic, f'{{"o":{value}}}') == [{"_rescued": {"/o": loads(value)}}]


# The SDK shortens names to this length, and then two may be the same.
SHORT_NAMES = FlatteningOptions(enabled=True, max_level=2, max_key_length=12)
FLAT = flattened(unpacked=True)
# The layout, a payload, and what becomes of it.
SAME_NAMES: dict[str, tuple[Layout, str, str, str]] = {
    "two fields whose columns differ at most by case": (
        *(FLAT, '{"a__B":1,"a":{"b":2,"c":3}}'),
        *('"a__B":1,"a":{"c":3}', '"/a/b":2'),
    ),
    "the message's own field": (
        *(flattened(unpacked=True, separator="_"), '{"topic":{"id":2,"x":3}}'),
        *('"topic":{"x":3}', '"/topic/id":2'),
    ),
    # No column has the object's own name.
    "members before flattening": (
        *(FLAT, '{"_rescued":{"x":1},"payload_time":{"x":1},"time":{"x":2}}'),
        *('"payload_time":{"x":1}', '"/_rescued":{"x":1},"/time":{"x":2}'),
    ),
    # The SDK would not flatten it, but put its text into that column.
    "an object with the name of a column": (
        *(FLAT, '{"a__b":1,"a":{"b":{"c":2},"d":3}}'),
        *('"a__b":1,"a":{"d":3}', '"/a/b":{"c":2}'),
    ),
    "long names": (
        Layout(unpacked=True, flattening=SHORT_NAMES),
        '{"address":{"streetNumber":1,"streetName":2}}',
        *('"address":{"streetNumber":1}', '"/address/streetName":2'),
    ),
}


@pytest.mark.parametrize(
    ("layout", "payload", "columns", "rescued"), SAME_NAMES.values(), ids=SAME_NAMES.keys()
)
def test_of_values_with_one_name_the_second_is_rescued(layout, payload, columns, rescued):
    [body] = builder({}, "add_columns", layout).build([payload.encode()]).bodies
    assert body.decode() == f'{columns},"_rescued":{{{rescued}}}'


MISSING = object()


LAYOUTS = {
    "unpacked": UNPACKED,
    "unpacked and flattened": flattened(unpacked=True),
    "unpacked and flattened with a short separator": flattened(unpacked=True, separator="_"),
    "nested and flattened": flattened(unpacked=False),
    "nested and flattened deeply": flattened(unpacked=False, levels=4),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@settings(max_examples=60)
@given(
    sample=st.lists(payloads, max_size=4),
    pages=st.lists(st.lists(payloads, max_size=4), max_size=3),
    mode=st.sampled_from(["add_columns", "rescue"]),
    is_deferred=st.booleans(),
)
def test_every_record_conforms_and_nothing_is_lost(layout, sample, pages, mode, is_deferred):
    """Columns and rescued values together are the payload, and fit the last SCHEMA."""
    columns = infer_columns(sample, layout.levels)
    topic = RecordBuilder(columns, Evolution(layout, mode, is_deferred=is_deferred))
    for page in pages:
        built = topic.build(page)
        assert len(built.bodies) == len(page)
        for payload, body in zip(page, built.bodies, strict=True):
            assert original(loads(b"{%b}" % body), layout, topic.columns) == loads(payload)
            record = {**FIXED, **json.loads(b"{%b}" % body)}
            schema = layout.record_schema(topic.columns)
            if layout.flattening:
                schema, record = flatten(layout, schema, topic.columns, record)
            strict = {**schema, "additionalProperties": False}
            Draft7Validator.check_schema(strict)
            Draft202012Validator.check_schema(strict)
            Draft202012Validator(strict, format_checker=FormatChecker()).validate(record)
    bookmarked = json.loads(json.dumps(schemas(topic.next_columns)))
    assert from_bookmark(bookmarked, layout.levels) == topic.next_columns


@st.composite
def histories(draw: st.DrawFn) -> tuple[list[bytes], list[list[int]]]:
    """Messages, and runs that read them: each run is a list of page ends.

    A run may end early, as if it were killed; the next one resumes at the last page before that
    whose state was stored, or with the first message, as after a full refresh.
    """
    messages = draw(st.lists(payloads, min_size=1, max_size=12))
    ends = st.lists(st.integers(1, len(messages)), max_size=6, unique=True).map(sorted)
    return messages, draw(st.lists(ends, min_size=1, max_size=4))


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS.keys())
@pytest.mark.parametrize("is_deferred", [False, True])
@settings(max_examples=75)
@given(
    history=histories(),
    known=st.lists(payloads, max_size=2),
    stored=st.lists(st.integers(0, 12), min_size=4, max_size=4),
)
def test_however_messages_are_read_the_columns_are_the_same(
    layout, is_deferred, history, known, stored
):
    """In random pages, with kills and full refreshes; the columns of the catalog are the same."""
    messages, runs = history
    catalog = infer_columns(known, layout.levels)
    at_once = RecordBuilder(catalog, Evolution(layout, "add_columns", is_deferred=is_deferred))
    at_once.build(messages)

    position, bookmark = 0, schemas(catalog)
    for ends, keep in zip(runs, stored, strict=False):
        columns = merged(from_bookmark(bookmark, layout.levels), catalog)
        topic = RecordBuilder(columns, Evolution(layout, "add_columns", is_deferred=is_deferred))
        states = [(position, bookmark)]
        for end in [end for end in ends if end > position]:
            topic.build(messages[position:end])
            position = end
            states.append((position, json.loads(json.dumps(schemas(topic.next_columns)))))
        # The state of some page was the last one to be stored; 0 is a full refresh.
        position, bookmark = states[min(keep, len(states)) - 1] if keep else (0, schemas(catalog))
    columns = merged(from_bookmark(bookmark, layout.levels), catalog)
    topic = RecordBuilder(columns, Evolution(layout, "add_columns", is_deferred=is_deferred))
    topic.build(messages[position:])

    assert schemas(topic.next_columns) == schemas(at_once.next_columns)


def flatten(
    layout: Layout, schema: Schema, columns: Columns, record: dict[str, Any]
) -> tuple[Schema, dict[str, Any]]:
    """Flatten a record as the SDK does; it must make a column of each value, and no other."""
    assert layout.flattening
    options = (layout.flattening.max_level, layout.flattening.separator)
    expected = {*FIXED, "_rescued"} & record.keys()
    for path in leaves(columns):
        value: Any = record
        for name in layout.record_path(path):
            value = value.get(name, MISSING) if isinstance(value, dict) else MISSING
        if value is not MISSING:
            expected.add(layout.column_name(path))
    flat_schema = flatten_schema(schema, *options)
    flat = flatten_record(record, flat_schema, *options)
    assert flat.keys() == expected
    return flat_schema, flat


@pytest.mark.parametrize("mode", MODES)
def test_a_page_of_anything_is_built(mode):
    """What is nested more deeply than parsers recurse is no exception."""
    deep = b"[" * 100_000 + b"]" * 100_000
    page = builder({}, mode).build([b"{}", b'{"a":%b}' % deep, deep])
    assert len(page.bodies) == (1 if mode == "fail" else 3)
