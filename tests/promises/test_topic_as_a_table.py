"""Topics as tables: unpacked and flattened records, as the executable emits them."""

import hashlib
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from tests.support.executables import Outcome
from tests.support.tap import deselect, discover
from tests.support.tap_output import consumed, ids

Schema = dict[str, Any]

INTEGER = {"type": ["integer", "null"]}
NUMBER = {"type": ["number", "null"]}
TEXT = {"type": ["string", "null"]}
OBJECT = {"type": ["object", "null"]}
JSON = {"type": ["object", "array", "null"]}
FIXED = ["message_id", "topic_id", "time"]
UNPACKED: dict[str, Any] = {"record_format": "unpacked"}
DECLARED = {"properties": {"id": {"type": "integer"}, "total": {"type": "number"}}}


def schemas(run: Outcome, stream: str = "topic_1") -> list[Schema]:
    """The columns of each SCHEMA message of a stream, besides those that all have."""
    found: list[Schema] = []
    for message in run.messages:
        if message["type"] == "SCHEMA" and message["stream"] == stream:
            properties = message["schema"]["properties"]
            assert list(properties)[:4] == [*FIXED, "_rescued"]
            assert properties["_rescued"]["type"] == ["object", "null"]
            found.append(dict(list(properties.items())[4:]))
    return found


def rows(run: Outcome, stream: str = "topic_1") -> list[dict[str, Any]]:
    """The records without the message's own fields; each conforms to the SCHEMA before it."""
    found = []
    strict: dict[str, Draft202012Validator] = {}
    for message in run.messages:
        if message["type"] == "SCHEMA":
            schema = {**message["schema"], "additionalProperties": False}
            strict[message["stream"]] = Draft202012Validator(schema, format_checker=FormatChecker())
        if message["type"] == "RECORD":
            record = message["record"]
            strict[message["stream"]].validate(record)
            if message["stream"] == stream:
                found.append({name: record[name] for name in record if name not in FIXED})
    return found


def bookmark(run: Outcome) -> dict[str, Any]:
    found: dict[str, Any] = run.states[-1]["bookmarks"]["topic_1"]
    return found


def test_the_fields_of_a_payload_are_columns(emulator, run_tap, topic):
    """Without a schema, a sample decides; every digit stays, and white space does no harm.

    A value with NUL is rescued as its JSON text, because PostgreSQL cannot store it; a backslash
    before `u0000` makes it plain text.
    """
    loaded = emulator.load(
        topic,
        [
            b'{"id":1,"total":1.10,"lines":[{"sku":"A"}],"time":"noon"}',
            b'{ "id" : 2,\n "total":123456789012345678901234567890.5, "customer":{"name":"Ann"} }',
            b'{"time":"a\\\\u0000b"}',
            b'{"time":"a\\u0000b","customer":{"x":"\\u0000"}}',
        ],
    )

    run = run_tap(topics=[topic], **UNPACKED)

    assert schemas(run) == [
        {
            "id": INTEGER,
            "total": NUMBER,
            "lines": JSON,
            "payload_time": {**TEXT, "description": "`time` of the payload"},
            "customer": JSON,
        }
    ]
    assert ids(run) == loaded
    first, second, third, fourth = rows(run)
    assert first == {"id": 1, "total": 1.1, "lines": [{"sku": "A"}], "payload_time": "noon"}
    assert second.keys() == {"id", "total", "customer"}
    assert third == {"payload_time": "a\\u0000b"}
    assert fourth == {"_rescued": {"/time": '"a\\u0000b"', "/customer": '{"x":"\\u0000"}'}}
    written = b'"id":2,"total":123456789012345678901234567890.5,"customer":{"name":"Ann"}},"time_ex'
    assert written in run.stdout
    assert (run.exit_code, run.error_lines) == (0, [])


def test_a_catalog_of_columns_is_read_again(emulator, run_tap, topic):
    """The field that got a prefix included, and without a new sample."""
    emulator.load(topic, [{"id": [1], "time": "noon"}, {"id": "x"}])
    time = {"type": "string", "title": "Time", "description": "Local"}
    schema = {"properties": {"id": {"type": "string"}, "time": time}}
    catalog = discover(run_tap, topics=[{"id": topic, "schema": schema}], **UNPACKED)
    emulator.clear_requests()
    run = run_tap(topics=[topic], catalog=catalog, **UNPACKED)
    assert len(consumed(emulator)) == 2
    assert rows(run) == [{"payload_time": "noon", "_rescued": {"/id": [1]}}, {"id": "x"}]


def test_a_field_named_like_one_with_a_prefix_is_read_from_a_catalog(emulator, run_tap, topic):
    """Its column looks like that of a field `time`."""
    emulator.load(topic, [{"payload_time": "noon"}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    assert rows(run_tap(topics=[topic], catalog=catalog, **UNPACKED)) == [{"payload_time": "noon"}]


def test_the_columns_of_the_bookmark_need_no_sample_and_keep_their_names(emulator, run_tap, topic):
    """A run without a catalog and without new messages is one request."""
    emulator.load(topic, [{"id": 1, "time": "noon"}])
    first = run_tap(topics=[topic], **UNPACKED)
    [_, last] = emulator.load(topic, [{"time": "later"}, {"payload_time": 5}])
    second = run_tap(topics=[topic], state=first.states[-1], **UNPACKED)
    emulator.clear_requests()
    third = run_tap(topics=[topic], state=second.states[-1], **UNPACKED)
    assert consumed(emulator) == [{"batch_size": 50, "after_message_id": last}]
    assert schemas(third) == schemas(second) == schemas(first)
    assert rows(second) == [{"payload_time": "later"}, {"_rescued": {"/payload_time": 5}}]


def test_new_fields_become_columns_and_the_next_run_knows_them(emulator, run_tap, topic):
    """One SCHEMA per page, before its first record; the catalog and a new sample are older."""
    emulator.load(topic, [{"id": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(
        topic,
        [{"id": 2}, {"id": 3, "a": 1, "b": None}, {"a": 2, "c": {"x": 1}}, {"id": 1.5, "a": "x"}],
    )
    settings: dict[str, Any] = {"topics": [topic], "catalog": catalog, "batch_size": 1, **UNPACKED}

    first = run_tap(**settings)
    second = run_tap(state=first.states[-1], **settings)
    emulator.load(topic, [{"a": "y", "c": 1, "b": 1}])
    # A catalog of a later sample.
    catalog["streams"][0]["schema"]["properties"] |= {"id": TEXT, "a": TEXT, "c": TEXT, "b": TEXT}
    third = run_tap(state=first.states[-1], **settings)
    fourth = run_tap(state=first.states[-1], schema_evolution="rescue", **settings)

    columns = {"id": INTEGER, "a": NUMBER, "c": JSON}
    assert schemas(first) == [{"id": INTEGER}, {"id": INTEGER, "a": NUMBER}, columns]
    assert rows(first) == [
        {"id": 1},
        {"id": 2},
        {"id": 3, "a": 1, "_rescued": {"/b": None}},
        {"a": 2, "c": {"x": 1}},
        {"_rescued": {"/id": 1.5, "/a": "x"}},
    ]
    added = [line[-17:] for line in first.stderr.splitlines() if "added" in line]
    assert added == ["added 1 column: a", "added 1 column: c"]
    assert schemas(second) == [columns]
    assert bookmark(first)["columns"] == bookmark(second)["columns"] == columns
    assert schemas(third) == [columns, {**columns, "b": NUMBER}]
    assert rows(third) == [{"b": 1, "_rescued": {"/a": "y", "/c": 1}}]
    assert "do not fit their column, kept in _rescued: /a (1), /c (1); if" in third.stderr
    assert schemas(fourth) == [{**columns, "b": TEXT}]


def test_a_page_with_many_new_columns_is_one_short_line(emulator, run_tap, topic):
    emulator.load(topic, [{"id": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{f"field_{number}": 1 for number in range(1000)}])
    run = run_tap(topics=[topic], catalog=catalog, **UNPACKED)
    [line] = [line for line in run.stderr.splitlines() if "added" in line]
    names = ", ".join(f"field_{number}" for number in range(10))
    assert line.endswith(f"topic_1 (topic 1): added 999 columns: {names} and 989 more")


def test_a_declared_schema_stays_while_the_developer_api_is_down(emulator, run_tap, developer):
    """The known columns, and that new fields are rescued: columns would be added for good."""
    fields = [{"name": "id", "type": "integer"}, {"name": "total", "type": "number"}]
    topic = emulator.create_topic(schema=fields)
    settings: dict[str, Any] = {"topics": [topic], **developer, **UNPACKED}
    catalog = discover(run_tap, **settings)
    emulator.load(topic, [{"id": 1, "total": 1, "note": "x"}])
    first = run_tap(catalog=catalog, **settings)
    emulator.load(topic, [{"id": 2, "total": 1.5, "note": "x"}])
    down = {**settings, "developer_api_url": "http://127.0.0.1:9", "max_retry_secs": 0}

    second = run_tap(catalog=catalog, state=first.states[-1], **down)
    without = {**settings, "developer_api_token": None, "developer_api_url": None}
    undeclared = run_tap(catalog=catalog, state=second.states[-1], **without)

    columns = {"id": INTEGER, "total": NUMBER}
    assert schemas(first) == schemas(second) == [columns]
    assert rows(first) == [{"id": 1, "total": 1, "_rescued": {"/note": "x"}}]
    assert rows(second) == [{"id": 2, "total": 1.5, "_rescued": {"/note": "x"}}]
    assert bookmark(second)["declared"] is True
    assert undeclared.exit_code == 0
    assert "declared" not in bookmark(undeclared)


def test_a_declared_type_that_changes_is_a_warning(emulator, run_tap, topic):
    """One per run, until the loader has stored the state of a run with the new type.

    By default, a declared schema does not change, whatever columns the last run had.
    """
    emulator.load(topic, [{"id": 1, "total": 10, "note": "x"}])
    settings = {"topics": [{"id": topic, "schema": DECLARED}], **UNPACKED}
    columns = {"id": NUMBER, "total": INTEGER, "note": TEXT}
    state = {"bookmarks": {"topic_1": {"columns": columns}}}
    first = run_tap(state=state, schema_evolution="add_columns", **settings)
    second = run_tap(state=first.states[-1], schema_evolution="add_columns", **settings)
    unchanged = run_tap(state=state, **settings)

    [line] = [line for line in first.stderr.splitlines() if "WARNING" in line]
    assert (
        "topic_1 (topic 1): the schema declares other types than the last run had: id from number "
        "to integer, total from integer to number; unless the table's columns have the new types, "
        "change them before the loader fails" in line
    )
    assert schemas(first) == [{"id": INTEGER, "total": NUMBER, "note": TEXT}]
    assert "WARNING" not in second.stderr
    assert schemas(unchanged) == [{"id": INTEGER, "total": NUMBER}]
    assert rows(unchanged) == [{"id": 1, "total": 10, "_rescued": {"/note": "x"}}]


def test_the_first_run_says_what_was_found(emulator, run_tap, topic):
    """The last line says what did not fit, with a remedy for numbers."""
    emulator.load(topic, [{"id": 1, "total": 10, "at": "2024-01-31T00:00:00Z"}] * 2)
    first = run_tap(topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 2, "total": 9.99, "at": None}, {"id": "x"}])
    second = run_tap(topics=[topic], state=first.states[-1], **UNPACKED)

    assert (
        "topic_1 (topic 1): found 3 columns in 2 messages: id integer (only whole numbers so far), "
        "total integer (only whole numbers so far), at string (date-time)" in first.stderr
    )
    assert "found" not in second.stderr
    [line] = [line for line in second.stderr.splitlines() if "WARNING" in line]
    assert (
        "topic_1 (topic 1): values that do not fit their column, kept in _rescued: /total (1), "
        "/id (1); if numbers should fit, change the type of their column" in line
    )


def test_fail_stops_before_the_message(emulator, run_tap, topic):
    loaded = emulator.load(topic, [{"id": 1}, {"id": "hush"}, {"id": 3}])
    topics = [{"id": topic, "schema": DECLARED}]
    run = run_tap(topics=topics, schema_evolution="fail", **UNPACKED)
    assert run.exit_code == 1
    [line] = run.error_lines
    assert f"topic_1 (topic 1): message {loaded[1]} cannot be written: /id does not fit" in line
    assert "hush" not in run.stderr
    assert rows(run) == [{"id": 1}]
    assert bookmark(run)["replication_key_value"] == loaded[0]


def test_none_drops_what_does_not_fit(emulator, run_tap, topic):
    emulator.load(topic, [{"id": 1, "note": "x"}, {"id": "x", "more": None}] * 3)

    topics = [{"id": topic, "schema": DECLARED}]
    run = run_tap(topics=topics, schema_evolution="none", batch_size=1, **UNPACKED)

    assert rows(run) == [{"id": 1}, {}] * 3
    lines = [line for line in run.stderr.splitlines() if "dropped" in line]
    assert [line.partition("topic_1 (topic 1): ")[2] for line in lines] == [
        "values that do not fit their column, dropped: /id (3)",
        "fields without a column, dropped: /note (3)",
    ]


def test_new_fields_can_wait_for_the_next_run(emulator, run_tap, topic):
    """For loaders that ignore a second SCHEMA in a run; the type is that of the first value."""
    emulator.load(topic, [{"id": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 2, "note": 5}, {"note": "x"}])
    evolution = {"schema_evolution": "add_columns_next_run", **UNPACKED}
    settings = {"topics": [topic], "catalog": catalog, "batch_size": 1, **evolution}

    first = run_tap(**settings)
    emulator.load(topic, [{"note": 6}])
    second = run_tap(state=first.states[-1], **settings)

    assert schemas(first) == [{"id": INTEGER}]
    assert rows(first) == [
        {"id": 1},
        {"id": 2, "_rescued": {"/note": 5}},
        {"_rescued": {"/note": "x"}},
    ]
    assert schemas(second) == [{"id": INTEGER, "note": NUMBER}]
    assert rows(second) == [{"note": 6}]


@pytest.mark.parametrize("before", ["nested", "unpacked"])
def test_after_nested_records_the_first_run_says_that_their_rows_have_no_columns(
    emulator, run_tap, topic, before
):
    """It is said once; with a full refresh, there is no bookmark."""
    emulator.load(topic, [{"id": 1}])
    last = run_tap(topics=[topic], record_format=before).states[-1]
    first = run_tap(topics=[topic], state=last, **UNPACKED)
    second = run_tap(topics=[topic], state=first.states[-1], **UNPACKED)

    text = (
        "topic_1 (topic 1): the bookmark is from nested records, so the rows that are already "
        "loaded have no values in the new columns; to load them again, use --full-refresh"
    )
    warnings = [line for line in first.stderr.splitlines() if "WARNING" in line]
    assert [text in line for line in warnings] == ([True] if before == "nested" else [])
    assert "WARNING" not in second.stderr


KEYED: dict[str, Any] = {"stream_maps": {"topic_1": {"__key_properties__": ["id"]}}}
FILTERED = {"topic_1": {"__key_properties__": ["id"], "__filter__": "id is not None"}}


@pytest.mark.parametrize("by", ["stream_maps", "catalog", "key_properties"])
def test_a_topic_of_changes_is_a_table_with_a_business_key(emulator, run_tap, topic, by):
    """Rows keep the payload's bytes; new fields wait for the next run.

    The setting applies whether the catalog was made with it or not.
    """
    emulator.load(topic, [b'{"id":1,"total":1E5}', b'{"id":1,"total":2.50}'])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 1, "total": 3, "note": "x"}])
    if by == "catalog":
        catalog["streams"][0]["key_properties"] = ["id"]
    keyed = KEYED if by == "stream_maps" else {}
    topics = {"topic_1": {"id": topic, "key_properties": ["id"]}}
    topics = topics if by == "key_properties" else {"topic_1": topic}
    settings = {"topics": topics, "catalog": catalog, "batch_size": 1, **UNPACKED, **keyed}

    first = run_tap(**settings)
    [_, last] = emulator.load(topic, [{"id": 2, "note": "y"}, {"note": "z"}])
    second = run_tap(state=first.states[-1], **settings)

    assert b'"id":1,"total":1E5},"time_extracted"' in first.stdout
    columns = {"id": INTEGER, "total": NUMBER}
    assert schemas(first) == [columns]
    assert rows(first)[2] == {"id": 1, "total": 3, "_rescued": {"/note": "x"}}
    assert first.messages[0]["key_properties"] == ["id"]
    assert schemas(second) == [{**columns, "note": TEXT}]
    assert rows(second) == [{"id": 2, "note": "y"}]
    [line] = second.error_lines
    assert f"message {last} cannot be written: it has no value for id" in line


NO_KEY = "it has no value for id"
OTHER_KEY = "its value for id, which is a key property, does not fit the column"


@pytest.mark.parametrize("more", [{}, {"double": "id"}], ids=["spliced", "mapped"])
@pytest.mark.parametrize("by", ["stream_maps", "key_properties"])
@pytest.mark.parametrize(
    ("payload", "problem"),
    [({"ping": True}, NO_KEY), ({"id": None}, NO_KEY), (b"null", NO_KEY), ({"id": "x"}, OTHER_KEY)],
)
def test_a_message_without_the_key_is_an_error(
    emulator, run_tap, topic, payload, problem, by, more
):
    loaded = emulator.load(topic, [{"id": 1}, {"id": 2}, payload])
    by_map, by_topic = {"__key_properties__": ["id"]}, {"key_properties": ["id"]}
    maps = {"topic_1": {**more, **(by_map if by == "stream_maps" else {})}}
    item = {"id": topic, "schema": DECLARED, **(by_topic if by == "key_properties" else {})}
    run = run_tap(topics=[item], stream_maps=maps, **UNPACKED)
    assert run.exit_code == 1
    [line] = run.error_lines
    assert f"topic_1 (topic 1): message {loaded[2]} cannot be written: {problem}" in line
    assert [row["id"] for row in rows(run)] == [1, 2]
    assert bookmark(run)["replication_key_value"] == loaded[1]


@pytest.mark.parametrize("declared", [True, False])
def test_messages_without_the_key_can_be_filtered_out(emulator, run_tap, topic, declared):
    """As documented, also before any message has it: then there is no SCHEMA yet."""
    emulator.load(topic, [{"ping": True}, {"id": None}])
    topics = [{"id": topic, "schema": DECLARED} if declared else topic]
    settings: dict[str, Any] = {"topics": topics, "stream_maps": FILTERED, **UNPACKED}

    first = run_tap(**settings)
    loaded = emulator.load(topic, [{"id": 1}, {"id": "x"}])
    second = run_tap(state=first.states[-1], **settings)

    assert first.error_lines == second.error_lines == []
    kinds = {message["type"] for message in first.messages}
    assert kinds == ({"SCHEMA", "STATE"} if declared else {"STATE"})
    assert [row["id"] for row in rows(second)] == [1]
    assert bookmark(second)["replication_key_value"] == loaded[-1]


def test_messages_that_a_filter_leaves_out_because_of_their_key_are_counted(
    emulator, run_tap, topic
):
    """In one warning per run; what is left out is not kept in `_rescued`."""
    payloads = [{"id": 1, "x": 1}, {"id": "A", "x": 1}, {"id": [2]}, {"id": None}, {"id": 1}]
    emulator.load(topic, payloads)
    topics = [{"id": topic, "schema": DECLARED}]
    run = run_tap(topics=topics, stream_maps=FILTERED, batch_size=1, **UNPACKED)
    assert [row["id"] for row in rows(run)] == [1, 1]
    [line] = [line for line in run.stderr.splitlines() if "WARNING" in line]
    assert (
        "topic_1 (topic 1): the filter in stream_maps left out 2 messages whose key does not fit "
        "its column; to load them, declare a key of mixed types as string and use --full-refresh"
    ) in line
    assert run.exit_code == 0
    [line] = [line for line in run.stderr.splitlines() if "kept in _rescued" in line]
    assert line.endswith("fields without a column, kept in _rescued: /x (1)")


def test_a_key_of_mixed_types_that_is_declared_as_string_loads_every_message(
    emulator, run_tap, topic
):
    """The number 3 and the text "3" are the same key."""
    keys = [*range(10), "A-17", "3"]
    emulator.load(topic, [{"id": key} for key in keys])
    topics = [{"id": topic, "schema": {"properties": {"id": {"type": "string"}}}}]
    run = run_tap(topics=topics, stream_maps=FILTERED, **UNPACKED)
    assert [row["id"] for row in rows(run)] == [str(key) for key in keys]
    assert len({row["id"] for row in rows(run)}) == 11
    assert "WARNING" not in run.stderr
    assert "kept in" not in run.stderr


def test_a_key_gets_its_column_from_the_first_message_that_has_it(emulator, run_tap, topic):
    """An empty topic has no SCHEMA yet; if new columns are not selected, no others are added."""
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    settings = {"topics": [topic], "catalog": catalog, **UNPACKED, **KEYED}

    empty = run_tap(**settings)
    emulator.load(topic, [{"id": 1, "email": "x"}, {"id": 2}])
    run = run_tap(state=empty.states[-1], **settings)
    deselect(catalog, "properties", "_rescued")
    closed = run_tap(**settings)

    assert (empty.exit_code, empty.error_lines) == (0, [])
    assert [message["type"] for message in empty.messages] == ["STATE"]
    assert schemas(run) == [{"id": NUMBER, "email": TEXT}]
    assert rows(run) == [{"id": 1, "email": "x"}, {"id": 2}]
    assert rows(closed) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize("flattening", [False, True], ids=["unpacked", "flattened"])
def test_a_topic_without_its_key_does_not_stop_the_others(emulator, run_tap, topic, flattening):
    [only] = emulator.load(topic, [{"note": "x"}])
    other = emulator.create_topic()
    emulator.load(other, [{"id": 7}])
    settings = {**UNPACKED, "flattening_enabled": flattening, "flattening_max_depth": 1}
    maps = {"*": {"__key_properties__": ["id"]}}
    run = run_tap(topics=[topic, other], stream_maps=maps, **settings)

    assert run.exit_code == 1
    [line] = run.error_lines
    assert f"topic_1 (topic 1): message {only} cannot be written: it has no value for id" in line
    assert [record["id"] for record in run.records(f"topic_{other}")] == [7]
    assert f"topic_{other}" in run.states[-1]["bookmarks"]


FLATTENED = {"flattening_enabled": True, "flattening_max_depth": 1}
ONE_TABLE = {"topic_*": {"__alias__": "orders"}}


@pytest.mark.parametrize(
    ("second", "settings"),
    [
        ({"id": 2}, {**UNPACKED, "stream_maps": ONE_TABLE}),
        ({"id": 2}, {**UNPACKED, "stream_maps": {"topic_2": {"__source__": "topic_1"}}}),
        ({"id": 2}, {**FLATTENED, "stream_maps": ONE_TABLE}),
        ({"note": "x"}, {**UNPACKED, "stream_maps": ONE_TABLE, "schema_evolution": "rescue"}),
    ],
    ids=["alias", "source", "flattened", "other columns"],
)
def test_two_topics_do_not_share_a_table_whose_columns_may_differ(
    emulator, run_tap, second, settings
):
    """Loaders would keep the columns of one of them, and drop the values of the other's."""
    for payload in ({"id": 1}, second):
        emulator.load(emulator.create_topic(), [payload])
    run = run_tap(topics=[1, 2], **settings)
    assert (run.exit_code, run.stdout) == (1, b"")
    [line] = run.error_lines
    assert "topic_1 (topic 1) and topic_2 (topic 2) would share the columns of " in line


@pytest.mark.parametrize("settings", [UNPACKED, {}], ids=["declared", "nested"])
def test_two_topics_can_share_a_table_of_the_same_columns(emulator, run_tap, settings):
    for _ in range(2):
        emulator.load(emulator.create_topic(), [{"id": 1, "total": 1.5}])
    topics = [{"id": topic, "schema": DECLARED} for topic in (1, 2)]
    run = run_tap(topics=topics, stream_maps=ONE_TABLE, **settings)
    assert (run.exit_code, run.warnings) == (0, [])
    assert [record["topic_id"] for record in run.records("orders")] in ([1, 2], [2, 1])


SHORT = "x" * 63


@pytest.mark.parametrize(
    ("names", "settings"),
    [
        (["Orders", "orders"], {}),
        (["eu.orders", "eu_orders"], UNPACKED),
        (["eu-Orders", "eu-orders"], {}),
        ([SHORT + "1", SHORT + "2"], {}),
        (["a", "b"], {"stream_maps": {"a": {"__alias__": "Orders"}, "b": {"__alias__": "orders"}}}),
        (["a", "b"], {"stream_maps": {"B": {"__source__": "a"}}}),
    ],
    ids=["case", "punctuation", "with a schema", "63 bytes", "aliases", "copy"],
)
def test_two_streams_that_some_loaders_take_for_one_table_are_an_error(
    emulator, run_tap, names, settings
):
    topics = [{"id": emulator.create_topic(), "name": name} for name in names]
    run = run_tap(topics=topics, **settings)
    assert (run.exit_code, run.stdout, emulator.requests()) == (1, b"", [])
    [line] = run.error_lines
    assert "(topic 1) and " in line
    assert "would be one table, " in line
    assert line.endswith("give one of them another name")


def test_a_stream_that_is_not_loaded_shares_no_table(emulator, run_tap):
    topics = [{"id": emulator.create_topic(), "name": name} for name in ("Orders", "orders")]
    emulator.load(2, [{"id": 1}])
    catalog = discover(run_tap, topics=topics, **UNPACKED)
    deselect(catalog)
    for settings in ({"catalog": catalog}, {"stream_maps": {"Orders": None}}):
        run = run_tap(topics=topics, **settings, **UNPACKED)
        assert (run.exit_code, run.warnings) == (0, [])
        assert len(run.records("orders")) == 1


def test_streams_that_differ_only_before_the_last_dash_cost_one_warning(emulator, run_tap):
    names = ("eu-orders", "us-orders", "orders", "returns")
    topics = [{"id": emulator.create_topic(), "name": name} for name in names]
    run = run_tap(topics=topics)
    assert run.exit_code == 0
    [line] = run.warnings
    assert line == (
        "eu-orders (topic 1), us-orders (topic 2), orders (topic 3) would be one table, orders, "
        "unless the loader makes a schema of what precedes the dash; if it has "
        "default_target_schema, use names such as eu_orders"
    )


def test_a_name_that_postgresql_cuts_costs_one_warning(emulator, run_tap):
    """Only the part that becomes the table counts."""
    names = (f"{SHORT}longer", f"{SHORT}-orders")
    run = run_tap(topics=[{"id": emulator.create_topic(), "name": name} for name in names])
    assert run.exit_code == 0
    [line] = run.warnings
    cut = f"PostgreSQL allows 63 bytes, so the table would be {SHORT}; use a shorter name"
    assert line == f"{SHORT}longer (topic 1): {cut}"


def test_fields_that_some_loaders_take_for_one_column_are_rescued(emulator, run_tap, topic):
    """Loaders with the SDK's `conform_name` fail with two of them."""
    payload = {"a-b": 1, "a_b": 2, "a b": 3, "A_b": 4, "Topic-ID": 5}
    emulator.load(topic, [payload])
    run = run_tap(topics=[topic], **UNPACKED)
    [row] = rows(run)
    rescued = {"/a_b": 2, "/a b": 3, "/A_b": 4}
    assert row == {"a-b": 1, "payload_Topic-ID": 5, "_rescued": rescued}


BY_MAP = {"__key_properties__": ["order__id"]}


@pytest.mark.parametrize(
    ("key", "map_"),
    [
        (None, BY_MAP),
        (None, {"double": "order['id']", **BY_MAP}),
        (["order__id"], {}),
        (["order__id"], {"double": "order['id']"}),
    ],
)
def test_a_flattened_column_can_be_the_key(emulator, run_tap, topic, key, map_):
    loaded = emulator.load(topic, [{"order": {"id": 1, "x": "a"}}, {"order": {"x": "b"}}])
    flat = {"flattening_enabled": True, "flattening_max_depth": 1, **UNPACKED}
    item = {"id": topic, "key_properties": key}

    run = run_tap(topics=[item], stream_maps={"topic_1": map_} if map_ else {}, **flat)

    [schema] = [m for m in run.messages if m["type"] == "SCHEMA"]
    assert schema["key_properties"] == ["order__id"]
    assert {"order__id", "order__x"} <= schema["schema"]["properties"].keys()
    assert [record["order__id"] for record in run.records()] == [1]
    [line] = run.error_lines
    assert f"message {loaded[1]} cannot be written: it has no value for order__id" in line


def test_stream_maps_see_every_column(emulator, run_tap, topic):
    """Those that a payload lacks as null; a new column of the page, too."""
    emulator.load(topic, [{"id": 1, "total": 1.5}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 2, "note": "x"}, {"id": "y"}])
    maps = {
        "topic_1": {"double": "float(total) * 2 if total is not None else None", "topic_id": None},
        "copy": {"__source__": "topic_1", "__else__": None, "message_id": "message_id"},
    }

    run = run_tap(topics=[topic], catalog=catalog, stream_maps=maps, batch_size=2, **UNPACKED)

    assert (run.exit_code, run.error_lines) == (0, [])
    columns = [list(m["schema"]["properties"]) for m in run.messages if m.get("schema")]
    assert columns[0] == ["message_id", "time", "_rescued", "id", "total", "double"]
    assert columns[2] == ["message_id", "time", "_rescued", "id", "total", "note", "double"]
    assert [m["stream"] for m in run.messages if m["type"] == "SCHEMA"] == ["topic_1", "copy"] * 2
    assert rows(run) == [
        {"id": 1, "total": 1.5, "double": 3.0},
        {"id": 2, "note": "x", "double": None},
        {"_rescued": {"/id": "y"}, "double": None},
    ]
    assert len(run.records("copy")) == 3


FLAT: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 3}
# `hush` is personal data; what follows the first page has other types and names.
PERSONAL = [
    {"id": 1, "email": "hush", "customer": {"name": "Ann", "email": "hush"}},
    {"id": 2, "email": ["hush"], "customer": {"name": 5, "email": {"x": "hush"}}},
    {"id": 3, "email": {"work": "hush"}, "customer": {"email": ["hush"]}, "EMAIL": "hush"},
    {"id": 4, "Email": {"x": "hush"}, "note": "new"},
]


@pytest.mark.parametrize("mode", ["add_columns", "rescue", "fail", "none"])
@pytest.mark.parametrize(
    ("settings", "other_key", "removed"),
    [
        (UNPACKED, "id", ["email", "customer"]),
        ({**UNPACKED, **FLAT}, "id", ["email", "customer__email"]),
        (FLAT, "payload__id", ["payload__email", "payload__customer__email"]),
        ({}, "message_id", ["payload"]),
    ],
    ids=["unpacked", "unpacked and flattened", "nested and flattened", "nested"],
)
def test_what_a_stream_map_removes_is_nowhere_in_the_output(
    emulator, run_tap, topic, settings, other_key, removed, mode
):
    """Neither in a column nor in `_rescued`, in the state or in the log; with any key."""
    emulator.load(topic, [{"id": 0}])
    new = discover(run_tap, topics=[topic], **settings)
    emulator.load(topic, PERSONAL[2:] if mode == "fail" else PERSONAL)
    known = discover(run_tap, topics=[topic], **settings)

    for catalog, key in ((known, "message_id"), (new, other_key)):
        run = run_tap(
            topics=[topic],
            catalog=catalog,
            stream_maps={"topic_1": {"__key_properties__": [key], **dict.fromkeys(removed)}},
            schema_evolution=mode,
            batch_size=2,
            **settings,
        )

        assert b"hush" not in run.stdout
        assert "hush" not in run.stderr
        schemas = [m["schema"]["properties"] for m in run.messages if m["type"] == "SCHEMA"]
        assert {name.lower() for schema in schemas for name in schema}.isdisjoint(removed)
        if mode != "fail":
            assert (run.exit_code, run.error_lines) == (0, [])
            assert len(run.records()) == len(emulator.messages(topic))


def test_what_a_stream_map_sets_replaces_the_value_everywhere(emulator, run_tap, topic):
    """A value that does not fit its column is counted, since it is nowhere else."""
    emulator.load(topic, [{"id": 1, "email": "hush"}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 2, "email": {"x": "hush"}}, {"id": 3, "EMAIL": "hush"}, {"id": 4}])
    maps = {"topic_1": {"email": "md5(email) if email is not None else None"}}

    run = run_tap(topics=[topic], catalog=catalog, stream_maps=maps, **UNPACKED)

    assert b"hush" not in run.stdout
    hashed = hashlib.md5(b"hush", usedforsecurity=False).hexdigest()
    assert [row.get("email") for row in rows(run)] == [hashed, None, None, None]
    assert "values that do not fit their column, dropped because of stream_maps: /email (1)" in (
        run.stderr
    )


def test_an_expression_survives_missing_and_rescued_values(emulator, run_tap, topic):
    """The error of one that does not names the property and the message."""
    loaded = emulator.load(topic, [{"total": 9.99}, {"total": "free"}, {"id": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    catalog["streams"][0]["schema"]["properties"]["total"] = NUMBER
    settings: dict[str, Any] = {"topics": [topic], "catalog": catalog, **UNPACKED}
    expression = "int(float(total)*100)"
    survives = f"{expression} if total is not None else None"

    failing = run_tap(stream_maps={"topic_1": {"total_cents": expression}}, **settings)
    run = run_tap(stream_maps={"topic_1": {"total_cents": survives}}, **settings)

    [line] = failing.error_lines
    assert (
        f"topic_1 (topic 1): message {loaded[1]} cannot be written (total_cents: TypeError); "
        "change its expression in stream_maps; any column may be null" in line
    )
    assert bookmark(failing)["replication_key_value"] == loaded[0]
    assert (run.exit_code, run.error_lines) == (0, [])
    assert [row["total_cents"] for row in rows(run)] == [999, None, None]


def test_an_expression_sees_a_boolean_in_a_text_column_as_text(emulator, run_tap, topic):
    """So `false` is true, as documented, and has to be compared."""
    emulator.load(topic, [{"paid": False}])
    topics = [{"id": topic, "schema": {"properties": {"paid": {"type": "string"}}}}]
    maps = {"topic_1": {"wrong": "'yes' if paid else 'no'", "right": "str(paid == 'true')"}}
    run = run_tap(topics=topics, stream_maps=maps, **UNPACKED)
    assert rows(run) == [{"paid": "false", "wrong": "yes", "right": "False"}]


def test_deeper_levels_are_flattened(emulator, run_tap, topic):
    """The schema evolves at every depth of columns; rescued data stays an object."""
    emulator.load(topic, [{"id": 1, "customer": {"name": "Ann", "address": {"zip": 1}}}])
    flat = {"flattening_enabled": True, "flattening_max_depth": 1, **UNPACKED}
    catalog = discover(run_tap, topics=[topic], **flat)
    emulator.load(
        topic,
        [
            b'{"id":2,"customer":{"name":[1.10],"city":"Bern"},"tags":[1.10]}',
            b'{"customer":null,"customer__name":"Eve"}',
        ],
    )

    run = run_tap(topics=[topic], catalog=catalog, batch_size=1, **flat)

    columns = {"id": INTEGER, "customer__name": TEXT, "customer__address": TEXT}
    assert schemas(run) == [columns, {**columns, "customer__city": TEXT, "tags": TEXT}]
    assert rows(run) == [
        {"id": 1, "customer__name": "Ann", "customer__address": '{"zip":1}'},
        {
            "id": 2,
            "customer__city": "Bern",
            "tags": "[1.10]",
            "_rescued": {"/customer/name": [1.1]},
        },
        {"_rescued": {"/customer": None, "/customer__name": "Eve"}},
    ]
    assert b'"_rescued":{"/customer/name":[1.10]}' in run.stdout


def test_nested_records_can_be_flattened(emulator, run_tap, topic):
    emulator.load(topic, [{"id": 1}])
    flat: dict[str, Any] = {"flattening_enabled": True, "flattening_max_depth": 2}
    catalog = discover(run_tap, topics=[topic], **flat)
    emulator.load(topic, [{"id": "x", "customer": {"name": "Ann"}}])
    maps = {"topic_1": {"copy": "payload['id']", "__key_properties__": ["message_id"]}}

    run = run_tap(topics=[topic], catalog=catalog, batch_size=1, **flat)
    mapped = run_tap(topics=[topic], catalog=catalog, stream_maps=maps, **flat)

    assert schemas(run) == [
        {"payload__id": INTEGER},
        {"payload__id": INTEGER, "payload__customer__name": TEXT},
    ]
    assert rows(run) == [
        {"payload__id": 1},
        {"payload__customer__name": "Ann", "_rescued": {"/id": "x"}},
    ]
    assert mapped.records()[1]["copy"] is None


def test_columns_can_be_deselected(emulator, run_tap, topic):
    """They stay deselected whatever the state knows; new ones follow `_rescued`."""
    emulator.load(topic, [{"id": 1, "email": "hush"}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"id": 2, "email": 5, "note": "x"}])
    state = {"bookmarks": {"topic_1": {"columns": {"email": TEXT, "id": INTEGER}}}}

    deselect(catalog, "properties", "email")
    run = run_tap(topics=[topic], catalog=catalog, state=state, **UNPACKED)
    deselect(catalog, "properties", "_rescued")
    closed = run_tap(topics=[topic], catalog=catalog, state=state, **UNPACKED)

    assert schemas(run)[-1] == {"id": INTEGER, "note": TEXT}
    assert rows(run) == [{"id": 1}, {"id": 2, "note": "x"}]
    assert rows(closed) == [{"id": 1}, {"id": 2}]
    assert "hush" not in run.stdout.decode() + closed.stdout.decode()


def test_columns_are_remembered_while_rescued_data_is_deselected(emulator, run_tap, topic):
    """Once they are selected again, they have the type that the table has."""
    emulator.load(topic, [{"id": 1}])
    catalog = discover(run_tap, topics=[topic], **UNPACKED)
    emulator.load(topic, [{"note": "x"}])
    settings: dict[str, Any] = {"topics": [topic], "batch_size": 1, **UNPACKED}
    first = run_tap(catalog=catalog, **settings)
    emulator.load(topic, [{"id": 2, "note": "hush"}])
    closed = deepcopy(catalog)
    deselect(closed, "properties", "_rescued")

    without = run_tap(catalog=closed, state=first.states[-1], **settings)
    emulator.load(topic, [{"note": [5]}])
    again = run_tap(catalog=catalog, state=without.states[-1], **settings)

    assert rows(without) == [{"id": 2}]
    assert without.messages[1]["schema"]["properties"].keys() == {*FIXED, "id"}
    assert schemas(again) == [{"id": INTEGER, "note": TEXT}]
    assert rows(again) == [{"_rescued": {"/note": [5]}}]


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("id", {**UNPACKED, **KEYED}, "which is a key property"),
        # It would be emitted inside of the payload.
        ("email", {}, "which is not a property of"),
    ],
)
def test_what_cannot_be_deselected_is_an_error(emulator, run_tap, topic, name, settings, problem):
    """It says so, instead of that the messages lack the key; other topics go on."""
    emulator.load(topic, [{"id": 1, "email": "hush"}])
    emulator.load(other := emulator.create_topic(), [{"id": 2}])
    topics = [topic, other]
    catalog = discover(run_tap, topics=topics, **settings)
    deselected = {"breadcrumb": ["properties", name], "metadata": {"selected": False}}
    catalog["streams"][0]["metadata"].append(deselected)
    run = run_tap(topics=topics, catalog=catalog, **settings)
    assert (run.exit_code, len(run.records("topic_2")), len(run.records())) == (1, 1, 1)
    [line] = run.error_lines
    assert f"topic_1 (topic 1): the catalog deselects {name}, {problem}" in line


@pytest.mark.parametrize(
    "columns", [["id"], {"id": {"type": ["decimal", "null"]}}, {"id": {"type": 5}}]
)
def test_columns_that_cannot_be_used_are_an_error(run_tap, topic, columns):
    """They are never taken for none, or for text: a type might change."""
    state = {"bookmarks": {"topic_1": {"columns": columns}}}
    run = run_tap(topics=[topic], state=state, **UNPACKED)
    assert run.exit_code == 1
    [line] = run.error_lines
    assert "topic_1 (topic 1): the state cannot be used: columns must be an object" in line
    assert run.records() == []


def test_a_map_of_key_and_alias_keeps_nested_records_as_they_are(emulator, run_tap, topic):
    emulator.load(topic, [b'{ "n" : 1E5 }'])
    maps = {"topic_*": {"__alias__": "orders", "__key_properties__": None}}
    run = run_tap(topics=[topic], stream_maps=maps)
    assert b'"stream":"orders"' in run.stdout
    assert b',"payload":{ "n" : 1E5 }},"time_extracted"' in run.stdout
    [schema] = [m for m in run.messages if m["type"] == "SCHEMA"]
    assert (schema["stream"], schema.get("key_properties")) == ("orders", None)


def test_the_sdks_test_reads_an_unpacked_record(emulator, run_tap, topic):
    emulator.load(topic, [{"id": 1}, {"id": 2, "x": 1}])
    run = run_tap("--test", topics=[topic], **UNPACKED)
    assert run.exit_code == 0, run.stderr
