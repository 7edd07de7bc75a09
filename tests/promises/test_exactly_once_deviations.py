"""Exactly once if the service, the source or the settings are not ideal."""

import re
import signal
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.exactly_once import (
    EXACTLY_ONCE,
    NONE,
    OURS,
    ids,
    killed,
    operations,
    publish_later,
    replay,
    returned,
    rows,
    state_line,
    warnings,
)
from tests.support.injection import injected
from tests.support.running import eventually
from tests.support.singer_lines import record, schema
from tests.support.target import StartTarget

KEYLESS = schema("orders", ())


def interrupted(
    start_target: StartTarget,
    emulator: Emulator,
    topic_ids: Sequence[int],
    lines: Sequence[bytes],
    state: dict[str, Any] | None = None,
    **settings: Any,  # noqa: ANN401 - settings are JSON
) -> dict[str, Any]:
    """Run the target until all records are published, kill it, and return its last state."""
    known = sum(len(emulator.messages(topic)) for topic in topic_ids)
    count = sum(b'"RECORD"' in line for line in lines)
    target = start_target(**{**EXACTLY_ONCE, "max_batch_age_secs": 0.1, **settings})
    target.feed(returned(state) if state else state_line(orders=0), *lines)

    def is_published() -> bool:
        return sum(len(emulator.messages(topic)) for topic in topic_ids) == known + count

    eventually(is_published, "all records")
    last = killed(target, emulator)
    publish_later(emulator, *topic_ids)
    return last


@pytest.mark.parametrize("what", ["not readable", "no cursors", "other workspace", "transient"])
def test_a_rejected_position_loses_nothing(emulator, topic, run_target, what):
    """The last run publishes records that are equal to those of the first one.

    They must not be matched with messages that the state covers.
    """
    fed = [KEYLESS, *rows(0, 20)]
    emulator.configure(clock_offset_secs=-120)
    first = replay(run_target, NONE, *fed)
    last = first.emitted_states[-1]
    emulator.configure(clock_offset_secs=-60)
    if what == "not readable":
        emulator.configure(clock_offset_secs=0)
        emulator.deviate(topic, readable_after_secs=4)
    if what == "no cursors":
        emulator.deviate(topic, publish_ids_are_positions=False)
    last = replay(run_target, last, KEYLESS, *rows(20, 1)).emitted_states[-1]
    emulator.configure(clock_offset_secs=0)
    if what == "other workspace":
        last["bookmarks"][OURS][str(topic)]["message_id"] = "Z9"
    if what == "transient":
        emulator.fault("reject_position", status=400)
    done = replay(run_target, last, *fed)
    assert ids(emulator, topic) == [*range(21), *range(20)]
    assert done.emitted_states[-1]["bookmarks"]["orders"] == 20
    position = last["bookmarks"][OURS][str(topic)]["message_id"]
    expected = f"orders (topic {topic}): position {position} was rejected (HTTP 4"
    is_warning = [expected in line for line in warnings(done)]
    assert is_warning == [True] * (what in {"no cursors", "other workspace"})


@pytest.mark.parametrize("place", ["same_page", "next_page"])
def test_a_message_that_is_delivered_twice_counts_once(
    emulator, topic, start_target, run_target, place
):
    """Of 300 equal records without a key, those that the topic lacks are published."""
    emulator.deviate(topic, repeat_every=3, repeat_in=place)
    equal = [record(id=1)] * 300
    last = interrupted(start_target, emulator, [topic], [KEYLESS, *equal[:180]])
    done = replay(run_target, last, KEYLESS, *equal)
    assert len(ids(emulator, topic)) == 300
    assert "120 published, 180 skipped" in done.stderr


def test_new_records_of_one_topic_do_not_end_the_list_of_another(
    emulator, topic, start_target, run_target
):
    """The tap waits for a page of one topic, and emits 4,000 new records of another one first."""
    other = emulator.create_topic()
    topics = {"a": topic, "b": other}
    described = [schema("a"), schema("b")]
    found = [record("a", id=number) for number in range(1900)]
    new = [record("b", id=number) for number in range(4000)]
    last = interrupted(
        start_target, emulator, [topic, other], [*described, *found, new[0]], topics=topics
    )
    done = replay(run_target, last, *described, *found[:50], *new, *found[50:], topics=topics)
    assert ids(emulator, topic) == list(range(1900))
    assert ids(emulator, other) == list(range(4000))
    assert warnings(done) == []


@pytest.mark.parametrize("change", ["updated", "inserted"])
def test_a_table_that_has_changed_a_lot_is_not_published_again(
    emulator, topic, start_target, run_target, change
):
    """4,000 of its rows were published; then 1,500 change, or 2,000 new ones come first."""
    described = schema("orders", ("id",), id={"type": "integer"}, v={"type": "string"})
    table = [record(id=number, v="a") for number in range(5000)]
    last = interrupted(start_target, emulator, [topic], [described, *table[:4000]])
    if change == "updated":
        table[:1500] = [record(id=number, v="b") for number in range(1500)]
    else:
        table[:0] = [record(id=number, v="a") for number in range(5000, 7000)]
    new = 1000 + (1500 if change == "updated" else 2000)
    done = replay(run_target, last, described, *table)
    published = [(row["id"], row["v"]) for row in emulator.payloads(topic) if "id" in row]
    assert len(published) == len(set(published)) == 4000 + new
    assert done.emitted_states[-1]["bookmarks"]["orders"] == len(table)


def test_messages_that_are_readable_late_are_found_after_a_lost_response(
    emulator, topic, run_target
):
    emulator.deviate(topic, readable_after_secs=2)
    emulator.fault("reset_after", operation="batch")
    done = replay(run_target, NONE, schema(), *rows(0, 100))
    assert ids(emulator, topic) == list(range(100))
    assert (
        f"orders (topic {topic}): no response to a batch of 100; 100 are in the topic"
        in done.stderr
    )


def test_a_state_with_positions_of_other_topics_is_explained(
    emulator, topic, start_target, run_target
):
    """One topic is exactly once; a warning names the other one, whose messages are duplicated."""
    other = emulator.create_topic()
    topics = {"a": topic, "b": other}
    fed = [schema("a"), schema("b"), record("a", id=1), record("b", id=1)]
    last = interrupted(start_target, emulator, [topic, other], fed, topics=topics)
    del last["bookmarks"][OURS][str(other)]
    done = replay(run_target, last, *fed, topics=topics)
    assert (ids(emulator, topic), ids(emulator, other)) == ([1], [1, 1])
    [line] = warnings(done)
    assert f"b (topic {other}): the state has positions of other topics but not of this" in line


@pytest.mark.parametrize("change", ["key properties", "name", "columns", "key field"])
def test_changed_settings_are_recognized_by_messages_that_match_no_record(
    emulator, topic, start_target, run_target, change
):
    """They are duplicated, so a warning at the end says what may have changed."""
    properties = {"id": {"type": "integer"}, "n": {"type": "integer"}}
    fed = [record(id=number, n=1000 + number) for number in range(40)]
    last = interrupted(
        start_target, emulator, [topic], [schema("orders", ("id",), **properties), *fed]
    )
    name = "renamed" if change == "name" else "orders"
    keys = ("n",) if change == "key properties" else ("id",)
    more = {"new": 1} if change == "columns" else {}
    settings = {**EXACTLY_ONCE}
    if change == "key field":
        settings["message_key_field"] = "other_key"
    done = run_target(
        returned(last),
        schema(name, keys, **properties),
        *[record(name, id=number, n=1000 + number, **more) for number in range(40)],
        returned(last, orders=40),
        **settings,
    )
    assert done.exit_code == 0, done.stderr
    assert len(ids(emulator, topic)) == 80
    label = f"{name} (topic {topic})"
    if change == "name":
        # These messages could also be those of another pipeline.
        assert warnings(done) == []
        assert f"{label}: 40 of 40 messages of an interrupted run matched no record" in done.stderr
        return
    [line] = warnings(done)
    if change == "key field":
        assert (
            f"{label}: found 40 messages with a message key in another field than other_key" in line
        )
    else:
        assert f"{label}: 40 of 40 messages of an interrupted run matched no record" in line


def test_two_pipelines_with_different_streams_of_one_topic_do_not_warn(emulator, topic, run_target):
    """Each finds the messages of the other one, which match none of its records."""
    emulator.configure(clock_offset_secs=-120)
    states = {"a": NONE, "b": NONE}
    for night in range(3):
        for stream, state in states.items():
            sent = [record(stream, id=number) for number in range(150 * night, 150 * night + 150)]
            fed = [returned(state), schema(stream), *sent, returned(state, **{stream: night + 1})]
            done = run_target(*fed, **EXACTLY_ONCE)
            assert (done.exit_code, warnings(done)) == (0, [])
            states[stream] = done.emitted_states[-1]
            publish_later(emulator, topic)
    assert sorted(ids(emulator, topic)) == sorted([*range(450)] * 2)


def test_messages_that_expire_during_a_look_up_do_not_end_the_run(
    emulator, topic, start_target, run_target
):
    """The position has expired, and so has the last message of each page when it is requested."""
    emulator.configure(clock_offset_secs=-120)
    last = replay(run_target, NONE, schema(), *rows(0, 1)).emitted_states[-1]
    emulator.configure(clock_offset_secs=-60)
    fed = [schema(), *rows(1, 120)]
    interrupted(start_target, emulator, [topic], fed, state=last, batch_size_rows=50)
    emulator.configure(clock_offset_secs=0)
    emulator.fault("expire", operation="consume", times=-1)
    done = replay(run_target, last, *fed)
    assert (done.exit_code, done.error_lines) == (0, [])
    [line] = warnings(done)
    assert "was rejected" in line
    assert "0 published, 120 skipped" in done.stderr


def test_many_streams_do_not_make_small_batches(emulator, start_target):
    """10,000 interleaved records of 50 streams, each with its own topic, take 100 requests."""
    topics = {f"s{number}": emulator.create_topic() for number in range(50)}
    target = start_target(**EXACTLY_ONCE, topics=topics, max_batch_age_secs=300)
    fed = [record(name, id=number) for number in range(200) for name in topics]
    target.feed(state_line(), *[schema(name) for name in topics], *fed, state_line(orders=1))
    target.close_input()
    done = target.end()
    assert done.exit_code == 0, done.stderr
    assert operations(emulator).count("batch") == 100
    assert all(ids(emulator, each) == list(range(200)) for each in topics.values())


def test_a_look_up_ends_on_a_busy_topic_without_a_date_header(emulator, topic, run_target):
    """Another producer publishes faster than the target reads; its clock is ahead."""
    last = replay(run_target, NONE, schema(), *rows(0, 1)).emitted_states[-1]
    emulator.fault("no_date", times=-1)
    ended = threading.Event()

    def produce() -> None:
        while not ended.is_set():
            time = (datetime.now(timezone.utc) + timedelta(minutes=2)).isoformat()
            emulator.load(topic, [{"of": "another producer"}] * 500, times=[time] * 500)

    producer = threading.Thread(target=produce)
    producer.start()
    try:
        done = replay(run_target, last, schema(), *rows(1, 1))
    finally:
        ended.set()
        producer.join()
    assert done.exit_code == 0, done.stderr
    assert ids(emulator, topic) == [0, 1]
    [line] = warnings(done)
    assert f"orders (topic {topic}): responses have no Date header" in line


def test_a_long_look_up_reports_its_progress_and_its_requests(
    emulator, topic, start_target, run_target, tmp_path
):
    """Another producer has published 8,000 messages, and the quota is small."""
    last = replay(run_target, NONE, schema(), *rows(0, 1)).emitted_states[-1]
    emulator.load(topic, [{"of": "another producer"}] * 8000)
    # Not only after 20 s.
    soon = """
        from target_workato_streams.delivery.exactly_once import topic_reader
        from target_workato_streams.publishing import producer
        topic_reader.PROGRESS_SECS = producer.LONGEST_WAIT_SECS = 1
    """
    env = injected(tmp_path / "site", soon)
    target = start_target(env, **EXACTLY_ONCE, max_requests_per_minute=120)
    target.feed(returned(last), schema(), *rows(1, 1))
    eventually(lambda: "still reading" in target.stderr, "a line about the progress")
    target.send(signal.SIGTERM)
    done = target.end()
    assert (done.exit_code, done.error_lines) == (0, [])
    progress = rf"orders \(topic {topic}\): still reading: ([\d,]+) messages in (\d+) requests, 0"
    found = re.search(progress, done.stderr)
    assert found
    # The last request may be in flight.
    assert 50 * int(found[2]) - int(found[1].replace(",", "")) in {0, 50}
    requests = len(emulator.requests(operation="consume", topic_id=topic)) - 2
    assert f"0 published, 0 dead letters, 0 resent, 0 possibly duplicated, {requests} requests" in (
        done.stderr
    )
