"""Which topic a stream is published to, and what happens to a stream that has none."""

import json
import signal
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.running import eventually
from tests.support.singer_lines import orders, raw_record, record, schema, state
from tests.support.target import dead_letters_in


def creating(emulator: Emulator) -> dict[str, Any]:
    """Settings that create a topic for a stream that has none."""
    return {
        "topics": None,
        "create_topics": True,
        "developer_api_token": emulator.developer_token,
        "developer_api_url": emulator.url,
    }


@pytest.mark.parametrize("reverse", [False, True])
def test_streams_are_published_to_the_topic_of_their_name_or_their_longest_glob(
    emulator, run_target, reverse
):
    """Case matters, a name may look like a glob, and `*` comes last, also after `?`."""
    globs = ("orders", "orders_*", "orders_e?", "crm.*", "[x]", "a*c", "?", "*")
    topics = {glob: emulator.create_topic(glob) for glob in globs}
    wanted = {
        "orders": ["orders"],
        "orders_*": ["orders_us", "orders_eur"],
        "orders_e?": ["orders_eu"],
        "crm.*": ["crm.accounts"],
        "[x]": ["[x]", "x"],
        "a*c": ["a*c", "abc"],
        "?": ["y"],
        "*": ["Orders_us", "x-orders"],
    }
    streams = [stream for each in wanted.values() for stream in each]
    fed = (line for stream in streams for line in (schema(stream), record(stream, id=stream)))
    # The order in the settings does not matter.
    reordered = dict(sorted(topics.items(), reverse=reverse))
    done = run_target(*fed, state("all"), topics=reordered)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    published = {
        name: [payload["id"] for payload in emulator.payloads(topic_id)]
        for name, topic_id in topics.items()
    }
    assert published == wanted


def test_an_unmapped_stream_ends_the_run_before_anything_of_it_is_published(
    emulator, topic, run_target
):
    """What precedes its schema is published and its state emitted; the line says what to set."""
    before, after = [*orders(2), state("before")], [schema("others"), record("others", id=1)]
    settings = {"topics": {"orders": topic}}
    done = run_target(schema(), *before, *after, **settings)
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert len(emulator.payloads(topic)) == 2
    (line,) = done.error_lines
    assert "stream others has no topic" in line
    assert 'add it to topics, or "*" for all other streams' in line


@pytest.mark.parametrize("settings", [{}, {"add_record_metadata": True}])
def test_an_unmapped_stream_is_skipped_with_one_warning(emulator, topic, run_target, settings):
    """States do not wait for its records."""
    settings = {"topics": {"orders": topic}, **settings}
    fed = [record(stream, id=n) for n in range(20) for stream in ("orders", "others")]
    fed += [schema("others", more={"type": "string"}), record("others", id=20), state("all")]
    done = run_target(schema(), schema("others"), *fed, on_unmapped_stream="skip", **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(topic)) == 20
    assert done.stderr.count("others: has no topic and is skipped") == 1


def test_the_legacy_domain_gets_one_message_per_request(emulator, topic, run_target):
    done = run_target(schema(), *orders(5), state("all"), legacy_api=True)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == list(range(5))
    paths = {request.path for request in emulator.requests()}
    assert paths == {f"/api/pubsub/topics/{topic}/publish"}
    assert len(emulator.requests()) == 5


@pytest.mark.parametrize("kind", ["reset_after", "garbage", "html"])
def test_requests_to_the_legacy_domain_are_retried(emulator, topic, run_target, kind):
    """A response without a message id acknowledges nothing."""
    emulator.fault(kind, after=1)
    done = run_target(schema(), *orders(3), state("all"), legacy_api=True)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert [payload["id"] for payload in emulator.payloads(topic)] == [0, 1, 1, 2]


def test_the_legacy_domain_may_return_numeric_message_ids(emulator, run_target):
    emulator.fault("status", status=200, body='{"message_id": 7}', times=-1)
    done = run_target(schema(), *orders(2), state("all"), legacy_api=True)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.requests()) == 2


def test_the_developer_api_may_return_ids_as_strings(emulator, topic, run_target):
    """A topic of the stream's name is used."""
    listed = json.dumps({"data": [{"id": str(topic), "name": "new"}]})
    emulator.fault("status", operation="topics", status=200, body=listed, times=-1)
    done = run_target(schema("new"), record("new", id=1), **creating(emulator))
    assert done.exit_code == 0
    assert emulator.payloads(topic) == [{"id": 1}]


def test_a_missing_topic_is_created_from_the_schema_of_its_stream(emulator, topic, run_target):
    """One of the same name is used; a stream that the settings map needs none."""
    there = emulator.create_topic("there")
    settings = {**creating(emulator), "topics": {"mapped": topic}}
    fed = [
        schema("mapped"),
        schema("there"),
        schema("new", id={"type": "integer"}, total={"type": ["null", "number"]}),
        record("mapped", id=1),
        record("there", id=2),
        record("new", id=3, total=1.5),
        state("all"),
    ]
    for _ in range(2):
        done = run_target(*fed, **settings)
        assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    requests = emulator.requests(operation="topics")
    (creation,) = [request for request in requests if request.method == "POST"]
    wish = json.loads(creation.body)
    assert wish["name"] == "new"
    assert [(field["name"], field["type"]) for field in wish["schema"]] == [
        ("id", "integer"),
        ("total", "number"),
    ]
    published = {request.topic_id for request in emulator.requests(operation="batch")}
    (new,) = published - {topic, there, None}
    assert new is not None
    assert emulator.payloads(new) == [{"id": 3, "total": 1.5}] * 2


def test_topics_are_listed_once_for_all_streams(emulator, run_target):
    """The Developer API allows 60 requests per minute, and a run may create hundreds of topics."""
    emulator.create_topic("there")
    streams = ["there", *(f"new_{number}" for number in range(5))]
    fed = [line for name in streams for line in (schema(name), record(name, id=1))]
    done = run_target(*fed, state("all"), **creating(emulator))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    methods = [request.method for request in emulator.requests(operation="topics")]
    # The second page is empty.
    assert methods == ["GET", "GET", *["POST"] * 5]


def test_of_topics_with_the_same_name_every_process_uses_the_one_with_the_lowest_id(
    emulator, topic, run_target
):
    other = emulator.create_topic("other")
    listed = json.dumps({"data": [{"id": each, "name": "new"} for each in (topic, other)]})
    emulator.fault("status", operation="topics", status=200, body=listed, times=-1)
    done = run_target(schema("new"), record("new", id=1), **creating(emulator))
    assert done.exit_code == 0
    assert emulator.payloads(min(topic, other)) == [{"id": 1}]


def test_a_topic_is_not_created_twice_after_a_lost_response(emulator, run_target):
    """The topics are listed again before the next attempt."""
    emulator.fault("reset_after", operation="topics", after=2)
    done = run_target(schema("new"), record("new", id=1), **creating(emulator))
    assert done.exit_code == 0
    methods = [request.method for request in emulator.requests(operation="topics")]
    assert methods.count("POST") == 1


@pytest.mark.parametrize(
    ("status", "message"),
    [(409, ""), (422, "Name has already been taken"), (400, "Topic already exists")],
)
def test_a_topic_that_another_process_has_just_created_is_used(
    emulator, run_target, status, message
):
    """The service rejects its name: the topics are listed again."""
    created = emulator.create_topic("new")
    emulator.fault("garbage", operation="topics", body={"data": []})
    emulator.fault("status", operation="topics", status=status, body={"message": message})
    done = run_target(schema("new"), record("new", id=1), state("all"), **creating(emulator))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert emulator.payloads(created) == [{"id": 1}]


def test_a_schema_that_the_service_rejects_ends_the_run(emulator, run_target):
    """The rejection is not mistaken for that of a topic that exists."""
    emulator.fault("garbage", operation="topics", body={"data": []})
    emulator.fault("status", operation="topics", status=422, body={"message": "Schema is invalid"})
    done = run_target(schema("new"), record("new", id=1), **creating(emulator))
    assert done.exit_code == 1
    assert "Developer API: HTTP 422 (Schema is invalid)" in done.error_lines[-1]


def test_all_pages_are_read_before_a_topic_is_created(emulator, run_target):
    """The service may use other page sizes than requested."""
    last = emulator.create_topic("new", id=9)
    for page in ([{"id": 1, "name": "a"}], [{"id": 2, "name": "b"}], [{"id": 9, "name": "new"}]):
        emulator.fault("garbage", operation="topics", body={"count": 1, "data": page})
    emulator.fault("garbage", operation="topics", body={"count": 0, "data": []})
    done = run_target(schema("new"), record("new", id=1), **creating(emulator))
    assert done.exit_code == 0
    assert emulator.payloads(last) == [{"id": 1}]
    assert len(emulator.requests(operation="topics")) == 4


@pytest.mark.parametrize(
    ("kind", "options"), [("status", {"status": 503}), ("stall", {"secs": 60})]
)
def test_states_are_emitted_while_a_topic_is_created_and_a_signal_ends_the_run(
    emulator, topic, start_target, kind, options
):
    """Neither batches and states nor the shutdown wait for the Developer API."""
    emulator.fault(kind, operation="topics", times=-1, **options)
    target = start_target(
        **{**creating(emulator), "topics": {"orders": topic}}, max_batch_age_secs=0.5
    )
    target.feed(schema(), *orders(3), state("read"))
    target.feed(schema("new"), record("new", id=1), state("no"))
    eventually(lambda: target.emitted == ["read"], "the state of the other topic")
    eventually(lambda: emulator.requests(operation="topics"), "the Developer API being asked")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "read"}])
    assert len(emulator.payloads(topic)) == 3


JSON_TYPES = ["string", "number", "integer", "array", "object", "boolean", "null"]
# What meltanolabs-tap-postgres 0.10 emits for each type of a nullable column.
POSTGRES: dict[str, tuple[dict[str, Any], str | None, list[Any]]] = {
    "bigint": ({"type": ["integer", "null"]}, "integer", [2**60]),
    "numeric, double precision": ({"type": ["number", "null"]}, "number", [1.5, 2]),
    "boolean": ({"type": ["boolean", "null"]}, "boolean", [True]),
    "text, uuid, bytea, bit, interval": ({"type": ["string", "null"]}, "string", ["a"]),
    "varchar(20)": ({"type": ["string", "null"], "maxLength": 20}, "string", ["a"]),
    "date": ({"type": ["string", "null"], "format": "date"}, "date", ["2026-01-02"]),
    "timestamp, timestamptz": (
        {"type": ["string", "null"], "format": "date-time"},
        "date_time",
        ["2026-01-02T03:04:05", "2026-01-02T03:04:05+00:00"],
    ),
    "time": ({"type": ["string", "null"], "format": "time"}, "string", ["03:04:05"]),
    "integer[]": ({"type": ["array", "null"], "items": {"type": ["integer"]}}, "array", [[1, 2]]),
    "json, jsonb": ({"type": JSON_TYPES}, None, [{"a": 1}, [1], "a", 1.5, True]),
    "jsonb[]": ({"type": ["array", "null"], "items": {"type": JSON_TYPES}}, None, [[{}, 1]]),
    "hstore": ({"type": ["object", "null"], "additionalProperties": True}, "object", [{"a": "b"}]),
}


def test_every_value_of_a_postgres_table_is_accepted_by_the_topic_created_for_it(
    emulator, run_target
):
    """A json column must not become a string; one line names what the schema leaves out."""
    described = {name: column for name, (column, _, _) in POSTGRES.items()}
    rows = [
        {"id": f"{name} {n}", name: value}
        for name, (_, _, values) in POSTGRES.items()
        for n, value in enumerate([*values, None])
    ]
    fed = [schema("new", ("id",), id={"type": "string"}, **described)]
    fed += [record("new", **row) for row in rows]
    done = run_target(*fed, state("all"), **creating(emulator))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    (creation,) = [r for r in emulator.requests(operation="topics") if r.method == "POST"]
    types = {field["name"]: field["type"] for field in json.loads(creation.body)["schema"]}
    expected = {name: kind for name, (_, kind, _) in POSTGRES.items() if kind}
    assert types == {"id": "string", **expected}
    (topic_id,) = {request.topic_id for request in emulator.requests(operation="batch")}
    assert topic_id is not None
    assert emulator.payloads(topic_id) == rows
    assert "without json, jsonb, jsonb[] in its schema" in done.stderr


def test_what_a_stream_map_computes_may_have_any_type(emulator, run_target):
    """The SDK takes it for a string, which a new topic doesn't require."""
    described = {"price": {"type": "number"}, "title": {"type": "string"}, "open": {}}
    computed = {"total": "price * 2", "is_big": "price > 2", "copy": "open", "open": "price * 3"}
    typed = {"name": "title", "text": "str(price)", "source": "'shop'", "net": "float(price)"}
    done = run_target(
        schema("new", (), **described),
        record("new", price=2.5, title="A", open=1),
        state("all"),
        stream_maps={"new": computed | typed | {"__key_properties__": ["title"]}},
        **creating(emulator),
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    (creation,) = [r for r in emulator.requests(operation="topics") if r.method == "POST"]
    types = {field["name"]: field["type"] for field in json.loads(creation.body)["schema"]}
    texts = dict.fromkeys(("title", "name", "text", "source"), "string")
    assert types == {"price": "number", "net": "number", **texts}


# A map of each stream, and the types that the schemas of its new topics have.
MAPS: dict[str, tuple[dict[str, Any], dict[str, dict[str, str]]]] = {
    "exact names": (
        {"a": {"note": "id * 2"}, "b": {"note": "str(id)"}},
        {"a": {"id": "integer"}, "b": {"id": "integer", "note": "string"}},
    ),
    "globs": (
        {"a*": {"note": "id * 2"}, "*b": {"note": "str(id)"}},
        {"a": {"id": "integer"}, "b": {"id": "integer", "note": "string"}},
    ),
    "the last of several": (
        {"?": {"note": "str(id)"}, "a": {"note": "id * 2"}},
        {"a": {"id": "integer"}, "b": {"id": "integer", "note": "string"}},
    ),
    "other names": (
        {"a": {"__alias__": "b", "note": "id * 2"}, "b": {"__alias__": "a", "note": "str(id)"}},
        {"b": {"id": "integer"}, "a": {"id": "integer", "note": "string"}},
    ),
    "copies": (
        {"c": {"__source__": "a", "note": "str(id)"}, "a": {"note": "id * 2"}, "b": "__NULL__"},
        {"a": {"id": "integer"}, "c": {"id": "integer", "note": "string"}},
    ),
    "only what is mapped": (
        {"a": {"__else__": "__NULL__", "id": "id * 2"}, "b": {"__else__": "__NULL__", "id": "id"}},
        {"a": {}, "b": {"id": "integer"}},
    ),
}


@pytest.mark.parametrize("case", MAPS)
def test_the_types_of_a_new_topic_are_those_of_its_own_stream_map(emulator, run_target, case):
    maps, expected = MAPS[case]
    fed = [line for name in "ab" for line in (schema(name), record(name, id=1))]
    done = run_target(*fed, state("all"), stream_maps=maps, **creating(emulator))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    created = [
        json.loads(request.body)
        for request in emulator.requests(operation="topics")
        if request.method == "POST"
    ]
    assert {
        wish["name"]: {field["name"]: field["type"] for field in wish["schema"]} for wish in created
    } == expected


UNUSUAL = b"""{"required": null, "anyOf": null, "properties": {
    "a": null, "b": true, "c": {"type": null}, "d": {"type": "object", "properties": null},
    "e": {"type": "object", "properties": {"x": null}, "required": null},
    "f": {"type": "array", "items": null}, "g": {"const": null, "default": null},
    "h": {"type": "object", "properties": []}
}}""".replace(b"\n", b"")
ALL_STEPS = {
    "stream_maps": {"new": {"i": "'x'"}},
    "flattening_enabled": True,
    "flattening_max_depth": 1,
}


@pytest.mark.parametrize("described", [b"true", UNUSUAL])
@pytest.mark.parametrize(
    "settings", [{}, ALL_STEPS, {"payload_field": "h", "message_key_field": "key"}]
)
def test_an_unusual_schema_does_not_end_the_run(emulator, run_target, settings, described):
    """Where it is null, it allows anything; the topic is created with what the format expresses."""
    line = b'{"type":"SCHEMA","stream":"new","schema":%b,"key_properties":[]}' % described
    done = run_target(
        line, record("new", a="x", h={}), state("all"), **creating(emulator), **settings
    )
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])


def test_a_record_that_cannot_be_decoded_is_rejected_whatever_its_schema(
    emulator, run_target, tmp_path
):
    """A stream's first record decides about its topic, also if it is nested too deeply."""
    line = b'{"type":"SCHEMA","stream":"new","schema":true,"key_properties":[]}'
    deep = b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
    fed = [line, raw_record(deep, "new"), record("new", a=1), state("all")]
    settings = creating(emulator) | dead_letters_in(tmp_path / "dead.jsonl")
    done = run_target(*fed, stream_maps={"*": {}}, **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert "1 published, 1 dead letter" in done.stderr
