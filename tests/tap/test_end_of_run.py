"""A run ends, even on a busy topic: after the messages that were there when it began."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.tap.running import bookmark
from tests.tap.singer import assert_states_are_true, consumed, ids
from tests.tap.times import all_ago

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator

    from tests.tap.conftest import RunTap

HOUR = 3_600


def cursors(emulator: Emulator) -> list[str | None]:
    """Return the cursor of each request, None without one."""
    return [body.get("after_message_id") for body in consumed(emulator)]


def test_an_empty_page_is_the_end(emulator: Emulator, run_tap: RunTap) -> None:
    """There is no further request."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(120)))
    outcome = run_tap(topics=[1])
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert cursors(emulator) == [None, published[49], published[99], published[119]]
    assert_states_are_true(outcome)


def test_an_empty_topic_is_one_request(emulator: Emulator, run_tap: RunTap) -> None:
    """The output is a SCHEMA and nothing else."""
    emulator.create_topic()
    outcome = run_tap(topics=[1])
    assert outcome.exit_code == 0
    assert [message["type"] for message in outcome.messages if message["type"] != "STATE"] == [
        "SCHEMA"
    ]
    assert cursors(emulator) == [None]


def test_a_short_page_is_not_the_end(emulator: Emulator, run_tap: RunTap) -> None:
    """A page may be shorter than `batch_size` before the end of the topic."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(10)))
    emulator.configure(page_limit=3)
    outcome = run_tap(topics=[1])
    assert ids(outcome) == published
    assert cursors(emulator) == [None, *published[2:9:3], published[-1]]


@pytest.mark.parametrize(
    ("offset_secs", "secs_ago"),
    [(0.0, -60), (-HOUR, HOUR - 60), (HOUR, -HOUR - 60)],
    ids=["clocks agree", "service behind", "service ahead"],
)
def test_a_message_newer_than_the_run_is_in_the_last_page(
    emulator: Emulator, run_tap: RunTap, offset_secs: float, secs_ago: float
) -> None:
    """The service's clock decides, whatever the local clock says."""
    emulator.configure(clock_offset_secs=offset_secs)
    times = [*all_ago(5 * HOUR, 3), *all_ago(secs_ago, 4)]
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    first = run_tap(topics=[1], batch_size=2)
    assert first.exit_code == 0
    assert ids(first) == published[:4]
    assert cursors(emulator) == [None, published[1]]
    second = run_tap(topics=[1], state=first.states[-1])
    assert ids(second) == published[4:]


@pytest.mark.parametrize(
    ("offset_secs", "secs_ago"), [(-HOUR, HOUR + 60), (HOUR, -HOUR + 60)], ids=["behind", "ahead"]
)
def test_a_skewed_clock_does_not_cut_a_run_short(
    emulator: Emulator, run_tap: RunTap, offset_secs: float, secs_ago: float
) -> None:
    """Messages published before the run, by the service's clock, are all read."""
    emulator.configure(clock_offset_secs=offset_secs)
    times = all_ago(secs_ago, 7)
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    assert ids(run_tap(topics=[1], batch_size=2)) == published
    assert cursors(emulator)[-1] == published[-1]


def test_without_a_date_header_the_local_clock_decides(emulator: Emulator, run_tap: RunTap) -> None:
    """A run ends all the same."""
    emulator.configure(date_header=False)
    times = [*all_ago(60, 3), *all_ago(-60, 4)]
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    outcome = run_tap(topics=[1], batch_size=2)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[:4]


def test_a_run_on_a_busy_topic_ends(emulator: Emulator, run_tap: RunTap) -> None:
    """However fast messages arrive, it reads those that were there when it began."""
    topic = emulator.create_topic()
    there = emulator.load(topic, ({"n": n} for n in range(120)), times=all_ago(60, 120))
    emulator.configure(latency_secs=0.1)
    done = threading.Event()

    def publish() -> None:
        while not done.wait(0.005):
            emulator.load(topic, [{"busy": True}])

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        outcome = run_tap(topics=[topic])
    finally:
        done.set()
        publisher.join()
    read = ids(outcome)
    published = [message.message_id for message in emulator.messages(topic)]
    assert outcome.exit_code == 0
    assert read == published[: len(read)]
    assert read[:120] == there
    # Its last page held messages: it was not an empty page that ended the run.
    assert cursors(emulator)[-1] != read[-1]
    assert bookmark(outcome.states[-1], "topic_1") == read[-1]


def test_max_messages_may_end_a_run_within_a_page(emulator: Emulator, run_tap: RunTap) -> None:
    """The bookmark is the last message written, from which the next run resumes."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(10)))
    first = run_tap(topics=[1], batch_size=4, max_messages=6)
    assert first.exit_code == 0
    assert ids(first) == published[:6]
    assert bookmark(first.states[-1], "topic_1") == published[5]
    second = run_tap(topics=[1], state=first.states[-1])
    assert ids(second) == published[6:]


def test_max_messages_ends_tail_mode(emulator: Emulator, run_tap: RunTap) -> None:
    """The bookmark is that of the last message written."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(70)))
    outcome = run_tap(topics=[1], tail=True, max_messages=60)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[:60]
    assert bookmark(outcome.states[-1], "topic_1") == published[59]


def test_max_messages_counts_all_topics_together(emulator: Emulator, run_tap: RunTap) -> None:
    """Two runs together emit every message of every topic once."""
    published = {}
    for topic in (1, 2, 3):
        emulator.create_topic(f"topic {topic}", id=topic)
        published[topic] = emulator.load(topic, ({"n": n} for n in range(8)))
    first = run_tap(topics=[1, 2, 3], batch_size=3, max_messages=11)
    assert first.exit_code == 0
    assert len(first.records()) == 11
    assert_states_are_true(first)
    second = run_tap(topics=[1, 2, 3], state=first.states[-1])
    for topic, all_of_it in published.items():
        assert ids(first, f"topic_{topic}") + ids(second, f"topic_{topic}") == all_of_it


def test_max_run_secs_ends_a_run_with_the_state_of_what_was_written(
    emulator: Emulator, run_tap: RunTap
) -> None:
    """The run ends in the middle of a topic, where the next one resumes."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(200)))
    emulator.configure(latency_secs=0.1)
    first = run_tap(topics=[1], batch_size=1, max_run_secs=0.6)
    assert first.exit_code == 0
    read = ids(first)
    assert 0 < len(read) < 200
    assert read == published[: len(read)]
    assert bookmark(first.states[-1], "topic_1") == read[-1]
    emulator.configure(latency_secs=0.0)
    assert ids(run_tap(topics=[1], state=first.states[-1])) == published[len(read) :]


def test_max_run_secs_ends_tail_mode_during_a_long_poll(
    emulator: Emulator, run_tap: RunTap
) -> None:
    """The end of the run does not wait for the long poll."""
    published = emulator.load(emulator.create_topic(), [{}, {}])
    outcome = run_tap(topics=[1], tail=True, max_run_secs=1)
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
    last = emulator.requests()[-1]
    assert b'"timeout_secs":50' in last.body
    assert last.status is None


def test_without_tail_mode_a_long_poll_waits_once(emulator: Emulator, run_tap: RunTap) -> None:
    """With `timeout_secs` a run waits for new messages; an empty page is its end."""
    emulator.create_topic()
    outcome = run_tap(topics=[1], timeout_secs=1)
    assert outcome.exit_code == 0
    assert [body["timeout_secs"] for body in consumed(emulator)] == [1]
