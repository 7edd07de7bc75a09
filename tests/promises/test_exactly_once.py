"""Exactly once, through the executable: lost responses, kills, first contact, permissions."""

import contextlib
import io
import json
import re
import signal
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from singer_sdk import Stream, Tap

from tests.support.exactly_once import (
    EXACTLY_ONCE,
    NONE,
    OURS,
    ids,
    killed,
    made_older,
    operations,
    publish_later,
    replay,
    returned,
    rows,
    state_line,
    warnings,
)
from tests.support.injection import NO_ROOM, REFUSED_ONCE, injected
from tests.support.running import eventually
from tests.support.singer_lines import record, schema
from tests.support.target import dead_letters_in

LATENCY_SECS = 0.15
# A response to a batch of five that acknowledges all of them.
NO_MESSAGE_IDS = {"message_ids": {str(n): {"result": "success"} for n in range(5)}}


@pytest.mark.parametrize(
    ("kind", "options", "legacy", "batches"),
    [
        ("reset_after", {}, False, (1, 3)),
        ("reset_after", {}, True, (1, 3)),
        ("reset", {}, False, (1,)),
        ("cut", {}, False, (1, 3)),
        ("status", {"status": 503, "stored": True, "headers": {"Retry-After": "0"}}, False, (1, 3)),
        ("status", {"status": 200, "stored": True, "body": NO_MESSAGE_IDS}, False, (1, 4)),
        ("missing_entry", {"indices": [0], "stored": True}, False, (1, 3)),
        ("missing_entry", {"indices": [4], "stored": False}, False, (1,)),
    ],
)
def test_a_lost_response_duplicates_nothing(
    emulator, topic, run_target, kind, options, legacy, batches
):
    """Each message arrives once and in order; the topic is looked up before a batch is resent."""
    for batch in batches:
        operation = "publish" if legacy else "batch"
        emulator.fault(kind, operation=operation, after=batch, **options)
    done = replay(run_target, NONE, schema(), *rows(0, 25), batch_size_rows=5, legacy_api=legacy)
    # A message that the service did not store is published behind those that it did.
    assert sorted(ids(emulator, topic)) == list(range(25))
    assert ids(emulator, topic) == list(range(25)) or kind == "missing_entry"
    assert "0 possibly duplicated" in done.stderr
    if kind == "reset":
        assert "no response to a batch of 5; 0 are in the topic, sending 5" in done.stderr
    state = done.emitted_states[-1]
    assert state["bookmarks"]["orders"] == 25
    position = state["bookmarks"][OURS][str(topic)]
    assert position["message_id"] == emulator.messages(topic)[-1].message_id
    assert position["message_time"]


def test_a_lost_response_after_a_refused_connection_duplicates_nothing(
    emulator, topic, run_target, tmp_path
):
    """The second attempt may have been applied, although the first one was never sent."""
    # The first connection consumes, the second one publishes.
    fault = REFUSED_ONCE.replace("== 1", "== 2")
    emulator.fault("reset_after", operation="batch")
    done = run_target(
        state_line(), schema(), *rows(0, 5), env=injected(tmp_path / "site", fault), **EXACTLY_ONCE
    )
    assert done.exit_code == 0, done.stderr
    assert "ConnectionRefusedError" in done.stderr
    assert operations(emulator).count("batch") == 1
    assert ids(emulator, topic) == list(range(5))


def test_what_a_killed_run_published_is_not_published_again(
    emulator, topic, start_target, run_target
):
    """SIGKILL with requests in flight: the next run skips what it finds, and says so."""
    target = start_target(**EXACTLY_ONCE, batch_size_rows=10, max_batch_age_secs=0.1)
    emulator.fault("latency", secs=LATENCY_SECS, operation="batch", times=-1)
    target.feed(state_line(), schema(), *rows(0, 45))
    eventually(lambda: len(ids(emulator, topic)) >= 20, "the first batches")
    last = killed(target, emulator)
    emulator.clear_faults()
    publish_later(emulator, topic)
    done = replay(run_target, last, schema(), *rows(0, 45))
    assert ids(emulator, topic) == list(range(45))
    assert re.search(
        rf"orders \(topic {topic}\): found (\d+) versions of \1 rows in the topic, and 1 message "
        r"of other producers \(1 request\)",
        done.stderr,
    )
    assert "skipped" in done.stderr


def test_a_row_that_the_source_reverts_in_a_replay_is_not_published_again(
    emulator, topic, start_target, run_target
):
    """The topic has a, b, c and b; the tap repeats only a and b, so the topic is up to date."""

    def versions() -> list[str]:
        return [payload["v"] for payload in emulator.payloads(topic) if "v" in payload]

    properties = {"id": {"type": "integer"}, "v": {"type": "string"}}
    described = schema("orders", ("id",), **properties)
    target = start_target(**EXACTLY_ONCE, max_batch_age_secs=0.1)
    target.feed(state_line(), described, *(record(id=1, v=each) for each in "abcb"))
    eventually(lambda: versions() == [*"abcb"], "all versions")
    last = killed(target, emulator)
    publish_later(emulator, topic)
    repeated = [record(id=1, v=each) for each in "ab"]
    done = replay(run_target, last, described, *repeated)
    assert versions() == [*"abcb"]
    assert done.emitted_states[-1]["bookmarks"]["orders"] == 2


def test_an_expired_position_means_reading_from_the_earliest_message(
    emulator, topic, start_target, run_target
):
    """The records of a killed run whose messages have not expired are not published again."""
    emulator.configure(clock_offset_secs=-60)
    first = replay(run_target, NONE, schema(), *rows(0, 5))
    emulator.configure(clock_offset_secs=0)
    target = start_target(**EXACTLY_ONCE, max_batch_age_secs=0.1)
    target.feed(returned(first.emitted_states[-1]), schema(), *rows(5, 10))
    eventually(lambda: len(ids(emulator, topic)) == 15, "all records")
    last = killed(target, emulator)
    position = last["bookmarks"][OURS][str(topic)]["message_id"]
    emulator.expire(topic, position)
    publish_later(emulator, topic)
    done = replay(run_target, last, schema(), *rows(5, 12))
    assert ids(emulator, topic) == list(range(5, 17))
    [line] = warnings(done)
    assert f"orders (topic {topic}): position {position} was rejected (HTTP 4" in line


def test_first_contact_costs_two_requests_and_a_later_run_one(emulator, topic, run_target):
    """Of an empty topic, only the end is read."""
    first = replay(run_target, NONE, schema(), *rows(0, 250))
    assert operations(emulator) == ["consume"] * 2 + ["batch"] * 3
    assert [s["bookmarks"].get(OURS, {}).get(str(topic)) for s in first.emitted_states[:2]] == [
        None,
        {"message_id": None, "message_time": None},
    ]
    last = first.emitted_states[-1]
    made_older(last, topic)
    replay(run_target, last, schema(), *rows(250, 50))
    assert operations(emulator)[5:] == ["consume", "batch"]
    assert ids(emulator, topic) == list(range(300))


def test_first_contact_finds_the_end_of_a_topic_that_others_publish_to(emulator, topic, run_target):
    """Older messages than the last one are not read in full."""
    emulator.load(topic, [{"n": number} for number in range(120)])
    last = emulator.messages(topic)[-1].message_id
    done = run_target(state_line(a=0), schema(), *rows(0, 1), state_line(a=1), **EXACTLY_ONCE)
    assert done.exit_code == 0, done.stderr
    before, again, _ = done.emitted_states
    assert before == {"bookmarks": {"a": 0}}
    position = again["bookmarks"].pop(OURS)[str(topic)]
    assert (again, position["message_id"]) == (before, last)


def test_contradictory_settings_are_rejected_together(run_target):
    done = run_target(exactly_once=True, max_in_flight=4, batch_size_rows=0)
    assert done.exit_code == 1
    for problem in (
        "exactly_once: requires message_key_field",
        "exactly_once: requires max_in_flight to be 1",
        "batch_size_rows",
    ):
        assert problem in done.stderr


@pytest.mark.parametrize("value", [{"bookmarks": {"orders": 5}}, {"offset": 5}])
def test_a_state_without_positions_is_explained_in_one_line(run_target, value):
    """It is older than exactly_once, or of a tap that does not keep what the target adds."""
    given = json.dumps({"type": "STATE", "value": value}).encode()
    [line] = warnings(run_target(given, schema(), *rows(5, 1), **EXACTLY_ONCE))
    assert "cannot apply to this run, because the state has no positions" in line


def test_a_run_of_a_table_without_bookmarks_is_silent(emulator, topic, run_target):
    """Each run reads all of the table, so its state has positions only."""
    emulator.configure(clock_offset_secs=-60)
    described = schema("orders", ("id",), id={"type": "integer"})
    lines: list[str] = []
    last = NONE
    for _ in range(3):
        done = run_target(returned(last), described, *rows(0, 2), state_line(), **EXACTLY_ONCE)
        lines += warnings(done)
        # The tap does not return empty bookmarks.
        last = {"bookmarks": {OURS: done.emitted_states[-1]["bookmarks"][OURS]}}
    assert ids(emulator, topic) == [0, 1] * 3
    assert lines == []


def test_a_position_that_stays_is_explained_in_one_line(emulator, topic, run_target):
    """The input ends with a record, so the tap may have failed; the next run finds the records."""
    emulator.configure(clock_offset_secs=-60)
    first = run_target(state_line(), schema(), *rows(0, 2), **EXACTLY_ONCE)
    [line] = [line for line in first.stderr.splitlines() if "no STATE" in line]
    assert "INFO" in line
    assert "the positions in the state stay where they are" in line
    publish_later(emulator, topic)
    second = replay(run_target, first.emitted_states[-1], schema(), *rows(0, 3))
    assert "no STATE" not in second.stderr
    assert ids(emulator, topic) == [0, 1, 2]


def test_a_tap_that_emits_its_state_after_records_loses_nothing(emulator, topic, run_target):
    """Taps based on singer-python do so; one line says that the run is at least once."""
    first = run_target(schema(), *rows(0, 3), state_line(orders=3), **EXACTLY_ONCE)
    # A state with positions only would replace the stored bookmarks.
    [last] = first.emitted_states
    second = run_target(schema(), *rows(2, 3), returned(last, orders=5), **EXACTLY_ONCE)
    assert ids(emulator, topic) == [0, 1, 2, 2, 3, 4]
    for done in (first, second):
        assert done.exit_code == 0
        [line] = warnings(done)
        assert "cannot apply to this run, because the tap has not returned a state" in line


def test_positions_that_the_tap_returns_again_are_old(emulator, topic, run_target):
    """Taps based on the SDK return them with each of their states; only the first one counts."""
    emulator.configure(clock_offset_secs=-60)
    first = replay(run_target, NONE, schema(), *rows(0, 3))
    last = first.emitted_states[-1]
    emulator.configure(clock_offset_secs=0)
    again = returned(last, orders=3), schema(), *rows(3, 3), returned(last, orders=6)
    second = run_target(*again, **EXACTLY_ONCE)
    assert ids(emulator, topic) == [0, 1, 2, 3, 4, 5]
    assert warnings(second) == []
    assert second.emitted_states[-1] != last


def test_a_look_up_is_retried_like_any_request(emulator, topic, run_target):
    """It waits as long as the service asks, and holds back the first publish."""
    emulator.fault("status", operation="consume", status=503)
    emulator.fault("status", operation="consume", status=429, headers={"Retry-After": "1"})
    emulator.fault("reset", operation="consume")
    replay(run_target, NONE, schema(), *rows(0, 1))
    assert operations(emulator) == ["consume"] * 5 + ["batch"]
    assert ids(emulator, topic) == [0]


@pytest.mark.parametrize(
    ("status", "reason"), [(403, "permission to consume"), (503, "max_retry_secs is 0.5")]
)
def test_a_look_up_that_fails_ends_the_run_before_the_first_publish(
    emulator, topic, run_target, status, reason
):
    emulator.fault("status", operation="consume", status=status, times=-1)
    fed = [state_line(), schema(), *rows(0, 1), state_line(a=1)]
    done = run_target(*fed, **EXACTLY_ONCE, max_retry_secs=0.5)
    assert done.exit_code == 1
    assert "batch" not in operations(emulator)
    assert len(operations(emulator)) == 1 or status == 503
    [line] = done.error_lines
    assert f"orders (topic {topic}): HTTP {status}" in line
    assert reason in line


def test_a_rate_limited_batch_costs_no_look_up(emulator, run_target):
    emulator.fault("status", operation="batch", status=429, headers={"Retry-After": "0"})
    replay(run_target, NONE, schema(), *rows(0, 1))
    assert operations(emulator) == ["consume"] * 2 + ["batch"] * 2


def test_hot_rows_cost_requests(emulator, topic, run_target):
    properties = {"id": {"type": "integer"}, "v": {"type": "integer"}}
    fed = [record(id=1, v=number) for number in range(10)]
    replay(run_target, NONE, schema("orders", ("id",), **properties), *fed)
    assert operations(emulator) == ["consume"] * 2 + ["batch"] * 10
    assert [payload["v"] for payload in emulator.payloads(topic)] == list(range(10))


def test_a_run_without_it_removes_the_positions(run_target):
    """Without `exactly_once`, positions would not move with what is published."""
    given = state_line(orders=1, **{OURS: {"11": {"message_id": "A12y"}}})
    done = run_target(given, schema(), *rows(0, 1), given)
    assert done.emitted_states == [{"bookmarks": {"orders": 1}}]


class Table(Tap):
    """A tap of the SDK, with a table that it reads as a whole in each run."""

    name = "tap-table"
    config_jsonschema: ClassVar = {"properties": {}}

    class Orders(Stream):
        """Three rows."""

        name = "orders"
        schema: ClassVar = {"properties": {"id": {"type": "integer"}}}
        primary_keys = ("id",)

        def get_records(self, context: object) -> Iterator[dict[str, int]]:  # noqa: ARG002
            """Return the rows."""
            yield from ({"id": number} for number in range(3))

    def discover_streams(self) -> list[Stream]:
        """Return the only stream."""
        return [self.Orders(self)]

    @classmethod
    def lines(cls, state: dict[str, Any]) -> list[bytes]:
        """Return the output of a run."""
        with contextlib.redirect_stdout(io.StringIO()) as output:
            cls(config={}, state=state).sync_all()
        return output.getvalue().encode().splitlines()


def test_a_run_without_it_and_taps_understand_its_states(emulator, topic, run_target):
    """The SDK returns the mark of a table and the list of a topic, and removes only the mark."""
    first = run_target(*Table.lines({}), **EXACTLY_ONCE).emitted_states[-1]["bookmarks"]
    assert first["orders"] == {"starting_replication_value": None}
    first[OURS][str(topic)]["uncovered"] = [f"{7:032}-{8:032}"]
    lines = Table.lines({"bookmarks": first})
    assert [json.loads(lines[n])["value"]["bookmarks"] for n in (0, -1)] == [
        first,
        {**first, "orders": {}},
    ]
    second = run_target(*lines, message_key_field="key")
    assert warnings(second) == []
    assert second.emitted_states[-1] == {"bookmarks": {"orders": {}}}
    third = run_target(*Table.lines(second.emitted_states[-1]), **EXACTLY_ONCE)
    assert [done.exit_code for done in (second, third)] == [0, 0]
    assert ids(emulator, topic) == [0, 1, 2] * 3


def test_malformed_positions_end_the_run_in_one_line(run_target):
    done = run_target(state_line(**{OURS: {"x": 1}}), schema(), *rows(0, 1), **EXACTLY_ONCE)
    assert done.exit_code == 1
    [line] = done.error_lines
    assert "bookmark of target-workato-streams is malformed" in line


@pytest.mark.parametrize("more", [0, 1])
def test_a_later_state_without_place_for_positions_ends_the_run_in_one_line(
    emulator, topic, run_target, more
):
    """The records before it are published, and the last state that was emitted covers less."""
    malformed = b'{"type": "STATE", "value": {"bookmarks": [1]}}'
    fed = [state_line(orders=0), schema(), *rows(0, 3), malformed, *rows(3, more)]
    done = run_target(*fed, **EXACTLY_ONCE)
    assert done.exit_code == 1
    [line] = done.error_lines
    assert "the state's bookmarks are not an object" in line
    assert ids(emulator, topic)[:3] == [0, 1, 2]
    assert done.emitted_states[-1]["bookmarks"]["orders"] == 0


def test_sigterm_in_a_look_up_ends_the_run_in_good_order(emulator, topic, start_target):
    emulator.fault("latency", secs=5, operation="consume")
    target = start_target(**EXACTLY_ONCE)
    target.feed(state_line(orders=0), schema(), *rows(0, 3), state_line(orders=3))
    eventually(emulator.requests, "the look-up")
    target.send(signal.SIGTERM)
    done = target.end(within=10)
    assert (done.exit_code, done.error_lines) == (0, [])
    assert done.emitted_states == [{"bookmarks": {"orders": 0}}]
    assert ids(emulator, topic) == []


def test_sigterm_in_a_replay_leaves_a_true_state(emulator, topic, start_target, run_target):
    """What was not covered yet is still not, and the next run completes it."""
    emulator.fault("latency", secs=LATENCY_SECS, operation="batch", times=-1)
    target = start_target(**EXACTLY_ONCE, batch_size_rows=5, max_batch_age_secs=0.1)
    target.feed(state_line(), schema(), *rows(0, 40))
    eventually(lambda: len(ids(emulator, topic)) >= 20, "half of the batches")
    last = killed(target, emulator)
    publish_later(emulator, topic)
    again = start_target(**EXACTLY_ONCE, batch_size_rows=5, max_batch_age_secs=0.1)
    again.feed(returned(last), schema(), *rows(0, 10), returned(last, orders=10))
    eventually(lambda: again.stdout.count(b"\n") >= 1, "the first state")
    again.send(signal.SIGTERM)
    done = again.end()
    final = json.loads(done.stdout.splitlines()[-1])
    # A state that covers the first rows lists the found messages that it does not cover.
    start = final["bookmarks"].get("orders", 0)
    replay(run_target, final, schema(), *rows(start, 40 - start))
    assert ids(emulator, topic) == list(range(40))


def test_a_last_state_of_null_covers_no_records(emulator, topic, run_target):
    """An older state must not be emitted with positions behind records that it does not cover."""
    null = b'{"type": "STATE", "value": null}'
    first = run_target(state_line(orders=0), schema(), *rows(0, 3), null, **EXACTLY_ONCE)
    assert first.exit_code == 0, first.stderr
    last = first.emitted_states[-1]
    assert last["bookmarks"][OURS][str(topic)]["message_id"] is None
    publish_later(emulator, topic)
    replay(run_target, last, schema(), *rows(0, 3))
    assert ids(emulator, topic) == [0, 1, 2]


def test_a_rejected_record_ends_a_look_up_but_not_the_records_before_it(
    emulator, topic, checked, start_target
):
    """They wait in another topic, whose requests are slow."""
    other = emulator.create_topic()
    emulator.configure(rejection="status")
    emulator.fault("latency", secs=2, operation="batch", topic_id=topic)
    emulator.fault("latency", secs=4, operation="consume", topic_id=other)
    topics = {"slow": topic, "bad": checked, "other": other}
    target = start_target(topics=topics, batch_size_rows=1, **EXACTLY_ONCE)
    target.feed(state_line(orders=0), *(schema(stream) for stream in topics))
    target.feed(record("slow", id=1), record("slow", id=2), record("bad", id="x"))
    target.feed(record("other", id=3), state_line(orders=3))
    target.close_input()
    done = target.end()
    assert done.exit_code == 1
    [line] = done.error_lines
    assert "bad, line 7: rejected" in line
    assert ids(emulator, topic) == [1, 2]
    assert ids(emulator, other) == []


def test_a_dead_letter_that_cannot_be_written_at_the_end_fails_the_run(
    checked, start_target, tmp_path
):
    """The state that would cover the record is not emitted."""
    settings = EXACTLY_ONCE | dead_letters_in(tmp_path / "dead.jsonl")
    env = injected(tmp_path / "site", NO_ROOM)
    target = start_target(env=env, default_topic_id=checked, max_retry_secs=0, **settings)
    target.feed(schema(), record(id="x"), state_line(orders=1))
    target.close_input()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (1, [])
    [line] = done.error_lines
    assert "dead.jsonl: File too large" in line
