"""`topics` has the same shapes in both connectors, and an id may be the topic's title."""

import json
import signal
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.running import eventually
from tests.support.singer_lines import orders, record, schema, state
from tests.support.tap_output import ago, consumed, ids

SHAPES: list[Any] = [
    {"orders": 11},
    {"orders": "11"},
    {"orders": {"id": 11}},
    {"orders": {"id": "11"}},
    '{"orders": 11}',
    [{"id": 11, "name": "orders"}],
    [{"id": "11", "name": "orders"}],
]
TITLES: list[Any] = [
    {"orders": "Orders (EU)"},
    {"orders": {"id": "Orders (EU)"}},
    [{"id": "Orders (EU)", "name": "orders"}],
]


@pytest.fixture
def numbered(emulator: Emulator) -> int:
    """A topic whose title no name in the settings has."""
    return emulator.create_topic("Orders (EU)", id=11)


@pytest.mark.parametrize("topics", SHAPES, ids=str)
def test_both_connectors_accept_the_same_shapes(emulator, numbered, run_tap, run_target, topics):
    """Text from an environment variable, too; a number in a text is an id, not a title."""
    read = emulator.load(numbered, [{"id": 1}])
    assert ids(run_tap(topics=topics), "orders") == read
    settings = {"topics": topics}
    done = run_target(schema(), *orders(1), state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(numbered)) == 2
    assert emulator.requests(operation="topics") == []


@pytest.mark.parametrize("topics", TITLES, ids=str)
def test_an_id_may_be_the_title_of_a_topic(
    emulator, numbered, run_tap, run_target, developer, topics
):
    read = emulator.load(numbered, [{"id": 1}])
    settings = {"topics": topics, **developer}
    assert ids(run_tap(**settings), "orders") == read
    fed = [schema(), *orders(1), schema("orders_2"), record("orders_2", id=2), state("all")]
    emulator.clear_requests()
    more = {"on_unmapped_stream": "skip"}
    done = run_target(*fed, **settings, **more)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.payloads(numbered)) == 2
    # The topics are listed once; the second page is empty.
    assert len(emulator.requests(operation="topics")) == 2


NOT_FOUND = [
    ("Orders (US)", "no topic has the title Orders (US); did you mean Orders (EU) (topic 11)?"),
    ("?", "no topic has the title ?; write its id"),
    ("Twice", "2 topics have the title Twice; write the id of one of them: 21, 22"),
]


@pytest.mark.parametrize(("title", "line"), NOT_FOUND)
def test_a_title_that_is_not_that_of_one_topic_ends_the_run(
    emulator, numbered, run_tap, run_target, developer, title, line
):
    """Titles are not unique. Nothing is read or published, and no topic is created."""
    titles = {numbered: "Orders (EU)", 21: "Twice", 22: "Twice"}
    listed = json.dumps({"data": [{"id": each, "name": name} for each, name in titles.items()]})
    emulator.fault("status", operation="topics", status=200, body=listed, times=-1)
    settings = {"topics": {"orders": title}, **developer}
    read = run_tap(**settings)
    fed = (schema(), *orders(1))
    written = run_target(*fed, **settings, create_topics=True)
    for done in (read, written):
        assert done.exit_code == 1
        assert done.error_lines[-1].endswith(f"topics: {line}")
    assert {request.method for request in emulator.requests()} == {"GET"}


def test_a_title_is_looked_up_while_other_topics_are_published(
    emulator, topic, start_target, developer
):
    """Neither batches and states nor the shutdown wait for the Developer API."""
    emulator.fault("stall", operation="topics", secs=60, times=-1)
    topics = {"orders": topic, "new*": "New"}
    target = start_target(topics=topics, **developer, max_batch_age_secs=0.5)
    target.feed(schema(), *orders(3), state("read"))
    target.feed(schema("new_1"), record("new_1", id=1), state("no"))
    eventually(lambda: target.emitted == ["read"], "the state of the other topic")
    eventually(lambda: emulator.requests(operation="topics"), "the Developer API being asked")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "read"}])
    assert len(emulator.payloads(topic)) == 3


def test_a_title_needs_the_developer_api_also_with_a_catalog(
    emulator, numbered, run_tap, developer
):
    """A catalog contains ids, but not which one the title has now."""
    emulator.load(numbered, [{"id": 1}])
    settings = {"topics": {"orders": "Orders (EU)"}, **developer}
    catalog = json.loads(run_tap("--discover", **settings).stdout)
    emulator.fault("status", operation="topics", status=503, times=-1)
    done = run_tap(catalog=catalog, max_retry_secs=0, **settings)
    assert (done.exit_code, done.stdout) == (1, b"")
    assert "Developer API: HTTP 503" in done.error_lines[-1]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("2026-01-01", "2026-01-01T00:00:00Z"),
        ("2026-01-01T02:03:04", "2026-01-01T02:03:04Z"),
        ("2026-01-01 02:03:04", "2026-01-01T02:03:04Z"),
        ("2026-01-01T02:03:04+02:00", "2026-01-01T02:03:04+02:00"),
        # What Meltano makes of `3 days ago`, which is in UTC.
        ("2026-01-01T02:03:04.640684", "2026-01-01T02:03:04.640684Z"),
    ],
)
@pytest.mark.parametrize("level", ["run", "topic"])
def test_a_date_is_in_utc_unless_it_has_an_offset(emulator, numbered, run_tap, given, sent, level):
    """Meltano passes on dates and times in YAML without `Z`."""
    of_topic: dict[str, Any] = {"id": numbered}
    of_run: dict[str, Any] = {}
    (of_topic if level == "topic" else of_run)["start_date"] = given
    done = run_tap(topics={"orders": of_topic}, **of_run)
    assert (done.exit_code, done.error_lines) == (0, [])
    assert consumed(emulator)[0]["since_time"] == sent
    assert f"starting at {sent} (start_date)" in done.stderr


def test_an_end_date_without_offset_is_in_utc(emulator, numbered, run_tap):
    """The local time zone has no influence."""
    loaded = emulator.load(numbered, [{"id": 1}, {"id": 2}], times=[ago(7_200), ago(1_800)])
    settings = {"end_date": ago(3_600).removesuffix("+00:00")}
    done = run_tap(topics={"orders": numbered}, env={"TZ": "Asia/Tokyo"}, **settings)
    assert ids(done) == loaded[:1]
