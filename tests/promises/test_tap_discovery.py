"""Discovery: streams are the topics in the settings, or all topics of the workspace."""

import json
import re
from typing import Any

import pytest

from tests.support.executables import Outcome
from tests.support.tap import discover
from tests.support.tap_output import consumed, ids


def streams(run: Outcome) -> dict[str, int]:
    """Return the topic ids of a run's records by stream name."""
    records = [message for message in run.messages if message["type"] == "RECORD"]
    return {message["stream"]: message["record"]["topic_id"] for message in records}


def names(run: Outcome) -> list[str]:
    """Return the stream names in a catalog; the SDK sorts them."""
    return [stream["tap_stream_id"] for stream in json.loads(run.stdout)["streams"]]


def test_without_topics_every_topic_of_the_workspace_is_a_stream(emulator, run_tap, developer):
    orders, returns = emulator.create_topic("Orders"), emulator.create_topic("Returned goods")
    for topic in (orders, returns):
        emulator.load(topic, [{}])

    run = run_tap(**developer)

    assert streams(run) == {"orders": orders, "returned_goods": returns}
    listed, _ = emulator.requests(operation="topics")
    assert listed.method == "GET"
    assert listed.headers["authorization"] == f"Bearer {emulator.developer_token}"
    assert "include_schema=true" in listed.path
    for request in emulator.requests(operation="consume"):
        assert request.headers["authorization"] == f"Bearer {emulator.token}"
    assert len(consumed(emulator)) == 4
    assert run.exit_code == 0


# The titles of topics 1, 2 and so on, and the names of their streams.
NAMES = [
    ("SalesOrders", "sales_orders"),
    ("sales orders", "sales_orders_2"),
    ("  Sales / Orders (EU) v2.0 ", "sales_orders_eu_v2_0"),
    ("Menü & Prix été", "menu_prix_ete"),
    ("注文", "topic_5"),
    ("", "topic_6"),
    ("Sales-Orders", "sales_orders_7"),
    ("sales_orders_7", "sales_orders_7_8"),
    ("../../etc/passwd", "etc_passwd"),
    ("topic_5", "topic_5_10"),
]


def test_names_are_snake_case_legal_and_unique(emulator, run_tap, developer):
    """The oldest of the topics with the same title keeps the name, and its bookmark."""
    for topic, (title, _) in reversed(list(enumerate(NAMES, start=1))):
        emulator.load(emulator.create_topic(title, id=topic), [{}])
    run = run_tap(**developer)
    assert streams(run) == {name: topic for topic, (_, name) in enumerate(NAMES, start=1)}


def test_more_topics_than_a_page_holds_are_all_found(emulator, run_tap, developer):
    for number in range(1, 206):
        emulator.create_topic(f"Topic {number}", id=number)
    run = run_tap("--discover", **developer)
    assert names(run) == sorted(f"topic_{number}" for number in range(1, 206))
    pages = [re.findall(r"\bpage=(\d+)", r.path) for r in emulator.requests(operation="topics")]
    assert pages == [["1"], ["2"], ["3"], ["4"]]


TWO_PAGES = [range(1, 101), range(100, 151), range(1, 101)]


@pytest.mark.parametrize(
    ("pages", "count"),
    [
        *((TWO_PAGES, count) for count in (None, 100, 1_000)),
        *(([[3], [1], [2], []], count) for count in (None, 3)),
    ],
)
def test_each_topic_is_listed_once_whatever_the_count_says(
    emulator, run_tap, developer, pages, count
):
    """A topic may be on two pages, and pages may be shorter than requested."""
    for page in pages:
        data = [{"id": number, "name": f"T{number}"} for number in page]
        emulator.fault("garbage", operation="topics", body={"data": data, "count": count})
    run = run_tap("--discover", **developer)
    assert names(run) == sorted({f"t{number}" for page in pages for number in page})
    assert len(emulator.requests(operation="topics")) == len(pages)


MALFORMED: list[Any] = [
    "{",
    {"name": "n"},
    ["n"],
    [{"name": 7}],
    [{"type": ["string"]}],
    [{"properties": {"a": 1}}],
]


def test_a_malformed_schema_costs_a_warning_and_the_others_are_discovered(
    emulator, run_tap, developer
):
    """Its topic gets an open schema; a topic without a name gets one from its id.

    Numbers and schemas may be listed as text.
    """
    schema = '[{"name": "n", "type": "integer"}]'
    fine = {"id": "100", "name": "Orders", "retention": "604800", "schema": schema}
    listed = [
        {"id": number, "name": f"Broken {number}", "schema": schema}
        for number, schema in enumerate(MALFORMED)
    ]
    listed.append({"id": len(listed), "name": None})
    for data in ([*listed, fine], []):
        emulator.fault("garbage", operation="topics", body={"data": data})

    run = run_tap("--discover", **developer)

    found = {
        stream["tap_stream_id"]: stream["schema"]["properties"]["payload"]
        for stream in json.loads(run.stdout)["streams"]
    }
    assert "n" in found.pop("orders")["properties"]
    broken = range(len(MALFORMED))
    assert found.keys() == {*(f"broken_{number}" for number in broken), f"topic_{len(MALFORMED)}"}
    assert not any("properties" in payload for payload in found.values())
    line = "topic %d: the Developer API lists no valid schema"
    assert run.warnings == [line % number for number in broken]


def test_topics_that_the_developer_api_does_not_list_are_read(emulator, run_tap, developer):
    orders, unlisted = emulator.create_topic("Orders"), emulator.create_topic("Secret")
    for topic in (orders, unlisted):
        emulator.load(topic, [{}])
    body = {"count": 1, "data": [{"id": orders, "name": "Orders"}]}
    emulator.fault("garbage", operation="topics", body=body)
    run = run_tap(topics=[{"id": orders, "name": "o"}, unlisted], **developer)
    assert streams(run) == {"o": orders, f"topic_{unlisted}": unlisted}
    assert run.exit_code == 0


def test_an_empty_workspace_is_a_run_without_streams(emulator, run_tap, developer):
    run = run_tap(**developer)
    assert (run.exit_code, run.stdout) == (0, b"")
    assert "reading 0 topics" in run.stderr
    assert consumed(emulator) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "status", "status": 401}, "); check developer_api_token and data_center"),
        ({"kind": "status", "status": 500}, "HTTP 500"),
        ({"kind": "reset"}, "no complete response"),
        ({"kind": "html"}, "unexpected response"),
        ({"kind": "garbage", "body": {"data": [{"name": "?"}]}}, "unexpected response"),
        ({"kind": "redirect", "location": "/elsewhere"}, "redirects are not followed"),
    ],
)
def test_a_developer_api_that_fails_ends_a_run_that_needs_it(
    emulator, run_tap, developer, fault, words
):
    emulator.create_topic()
    emulator.fault(operation="topics", times=-1, **fault)
    run = run_tap(**developer, max_retry_secs=0)
    assert (run.exit_code, run.stdout) == (1, b"")
    [line] = run.error_lines
    assert "Developer API: " in line
    assert words in line
    assert " api_url" not in line
    assert {request.operation for request in emulator.requests()} == {"topics"}
    assert emulator.developer_token not in run.stderr


def test_a_developer_api_that_fails_temporarily_is_retried(emulator, run_tap, developer):
    emulator.create_topic("Orders")
    emulator.fault("status", operation="topics", status=503, times=2)
    run = run_tap("--discover", **developer)
    assert names(run) == ["orders"]
    assert [r.status for r in emulator.requests(operation="topics")] == [503, 503, 200, 200]


def test_with_catalog_and_topics_a_failing_developer_api_is_a_warning(emulator, run_tap, developer):
    """They contain everything but the retention."""
    topic = emulator.create_topic("Orders", schema=[{"name": "n", "type": "integer"}])
    loaded = emulator.load(topic, [{"n": 1}])
    catalog = discover(run_tap, topics=[topic], **developer)
    rejected = {**developer, "developer_api_token": "stale-secret"}

    run = run_tap(topics=[topic], catalog=catalog, **rejected)

    assert ids(run) == loaded
    schema = run.messages[0]["schema"]["properties"]["payload"]["properties"]
    assert schema == {"n": {"type": ["integer", "null"]}}
    assert run.exit_code == 0
    [line] = run.warnings
    assert "Developer API: HTTP 401 (" in line
    assert "); check developer_api_token and data_center" in line
    assert "stale-secret" not in run.stderr
    assert run_tap(topics=[topic], **rejected).exit_code == 1
    assert run_tap(catalog=catalog, **rejected).exit_code == 1


@pytest.mark.parametrize("cached_catalog", [False, True])
def test_a_renamed_topic_keeps_its_stream_name_and_bookmark(
    emulator, developer, run_tap, cached_catalog
):
    """It is identified by its id, with and without a cached catalog; a new topic takes no name."""
    emulator.load(emulator.create_topic("Orders", id=1), [{"n": 1}])
    catalog = discover(run_tap, **developer) if cached_catalog else None
    state = run_tap(catalog=catalog, **developer).states[-1]
    renamed = [{"id": 1, "name": "Sales"}]
    if not cached_catalog:
        emulator.create_topic("Orders", id=2)
        renamed.append({"id": 2, "name": "Orders"})
    for page in (renamed, []):
        emulator.fault("garbage", operation="topics", body={"data": page})
    later = emulator.load(1, [{"n": 2}])
    outcome = run_tap(catalog=catalog, state=state, **developer)
    assert ids(outcome, "orders") == later
    assert {record["topic_id"] for record in outcome.records("orders")} == {1}
    schemas = [message["stream"] for message in outcome.messages if message["type"] == "SCHEMA"]
    assert sorted(schemas) == (["orders"] if cached_catalog else ["orders", "orders_2"])


def test_a_topic_that_cannot_be_sampled_costs_a_warning(emulator, run_tap):
    for topic in (1, 2):
        emulator.load(emulator.create_topic(f"topic {topic}", id=topic), [{"n": 1}])
    emulator.fault("status", status=403, topic_id=1, times=-1)
    done = run_tap("--discover", topics=[1, 2], record_format="unpacked")
    streams = json.loads(done.stdout)["streams"]
    first, second = (stream["schema"]["properties"].keys() for stream in streams)
    assert second - first == {"n"}
    [line] = done.warnings
    assert line.startswith("topic_1 (topic 1): HTTP 403")
    assert line.endswith("; its schema cannot be inferred, so any object is allowed")


NO_ID = b'{"messages":[{"message_id":"","payload":{},"time":"2026-01-01T00:00:00Z"}]}'


@pytest.mark.parametrize("tail", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 422},
        {"kind": "status", "status": 500},
        {"kind": "garbage", "body": b'{"messages":[{"payload":"\xff"}]}'},
        {"kind": "garbage", "body": NO_ID},
    ],
    ids=["rejected", "unavailable", "no UTF-8", "no message id"],
)
def test_a_topic_that_cannot_be_sampled_does_not_stop_the_others(emulator, run_tap, fault, tail):
    published = [emulator.load(emulator.create_topic(name), [{"n": 1}]) for name in "abc"]
    emulator.fault(**fault, topic_id=1, times=-1)
    for topic in (2, 3):  # so that the first topic is reached before the limit
        emulator.fault("latency", secs=0.5, topic_id=topic, times=-1)
    limit = {"max_messages": 2, "tail": True} if tail else {}
    settings = {"record_format": "unpacked", "max_retry_secs": 1, **limit}
    done = run_tap(topics=[1, 2, 3], **settings)
    assert done.exit_code == 1
    assert [ids(done, f"topic_{topic}") for topic in (1, 2, 3)] == [[], *published[1:]]
    assert all("topic_1 (topic 1): " in line for line in [*done.warnings, *done.error_lines])
    assert "its schema cannot be inferred" in done.stderr


def test_a_service_that_is_down_ends_discovery_with_one_error(emulator, run_tap):
    """Only one topic is retried for `max_retry_secs`, so that the error comes after this time."""
    topics = [emulator.create_topic(name) for name in "abc"]
    emulator.fault("status", status=503, times=-1)
    done = run_tap(topics=topics, record_format="unpacked", max_retry_secs=2)
    assert (done.exit_code, done.stdout) == (1, b"")
    [error] = done.error_lines
    assert "topic_1 (topic 1): HTTP 503" in error
    assert "(max_retry_secs is 2)" in error
    asked = [request.topic_id for request in emulator.requests()]
    assert asked[-2:] == [2, 3]
    assert len(asked) > 3
    assert set(asked[:-2]) == {1}
