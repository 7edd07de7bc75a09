"""A run ends, even on a busy topic, with a wrong clock, or if the service repeats pages."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tap_workato_streams.event_streams.errors import EventStreamsError

from tests.support.tap import bookmark
from tests.support.tap_in_process import read
from tests.support.tap_output import ago, all_ago, assert_states_are_true, consumed, ids

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator


HOUR = 3_600


def cursors(emulator: Emulator) -> list[str | None]:
    """Return the cursor of each request, None without one."""
    return [body.get("after_message_id") for body in consumed(emulator)]


def test_an_empty_page_is_the_end(emulator, run_tap):
    """There is no further request."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(120)))
    outcome = run_tap(topics=[1])
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert cursors(emulator) == [None, published[49], published[99], published[119]]
    assert_states_are_true(outcome)


def test_an_empty_topic_is_one_request(emulator, run_tap):
    """The output is a SCHEMA and nothing else."""
    emulator.create_topic()
    outcome = run_tap(topics=[1])
    assert outcome.exit_code == 0
    assert [message["type"] for message in outcome.messages if message["type"] != "STATE"] == [
        "SCHEMA"
    ]
    assert cursors(emulator) == [None]


def test_a_short_page_is_not_the_end(emulator, run_tap):
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
def test_a_message_newer_than_the_run_is_in_the_last_page(emulator, run_tap, offset_secs, secs_ago):
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
def test_a_skewed_clock_does_not_cut_a_run_short(emulator, run_tap, offset_secs, secs_ago):
    """Messages published before the run, by the service's clock, are all read."""
    emulator.configure(clock_offset_secs=offset_secs)
    times = all_ago(secs_ago, 7)
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    assert ids(run_tap(topics=[1], batch_size=2)) == published
    assert cursors(emulator)[-1] == published[-1]


def test_without_a_date_header_the_local_clock_decides(emulator, run_tap):
    """A run ends all the same."""
    emulator.configure(date_header=False)
    times = [*all_ago(60, 3), *all_ago(-60, 4)]
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    outcome = run_tap(topics=[1], batch_size=2)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[:4]


def test_a_run_on_a_busy_topic_ends(emulator, run_tap):
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


def test_max_messages_may_end_a_run_within_a_page(emulator, run_tap):
    """The bookmark is the last message written, from which the next run resumes."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(10)))
    first = run_tap(topics=[1], batch_size=4, max_messages=6)
    assert first.exit_code == 0
    assert ids(first) == published[:6]
    assert bookmark(first.states[-1], "topic_1") == published[5]
    second = run_tap(topics=[1], state=first.states[-1])
    assert ids(second) == published[6:]


def test_max_messages_ends_tail_mode(emulator, run_tap):
    """The bookmark is that of the last message written."""
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(70)))
    outcome = run_tap(topics=[1], tail=True, max_messages=60)
    assert outcome.exit_code == 0
    assert ids(outcome) == published[:60]
    assert bookmark(outcome.states[-1], "topic_1") == published[59]


def test_max_messages_counts_all_topics_together(emulator, run_tap):
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


def test_max_run_secs_ends_a_run_with_the_state_of_what_was_written(emulator, run_tap):
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


def test_max_run_secs_ends_tail_mode_during_a_long_poll(emulator, run_tap):
    """The end of the run does not wait for the long poll."""
    published = emulator.load(emulator.create_topic(), [{}, {}])
    outcome = run_tap(topics=[1], tail=True, max_run_secs=1)
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
    last = emulator.requests()[-1]
    assert b'"timeout_secs":50' in last.body
    assert last.status is None


def test_without_tail_mode_a_long_poll_waits_once(emulator, run_tap):
    """With `timeout_secs` a run waits for new messages; an empty page is its end."""
    emulator.create_topic()
    outcome = run_tap(topics=[1], timeout_secs=1)
    assert outcome.exit_code == 0
    assert [body["timeout_secs"] for body in consumed(emulator)] == [1]


def page(*names: str) -> dict[str, Any]:
    """A page of messages with these ids."""
    time = ago(HOUR)
    return {"messages": [{"message_id": each, "payload": {}, "time": time} for each in names]}


def test_a_service_that_repeats_a_page_ends_the_run(emulator, run_tap):
    """A page whose last message is the cursor brings nothing new."""
    topic = emulator.create_topic()
    emulator.fault("garbage", body=page("A", "B"), times=-1)
    outcome = run_tap(topics=[topic])
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1): the service returned message B again after it was read" in line
    assert ids(outcome) == ["A", "B"]
    assert bookmark(outcome.states[-1], "topic_1") == "B"
    assert len(emulator.requests()) == 2


def test_latest_ends_where_a_service_repeats_a_page(emulator):
    """The search for the latest message is a run of pages, too."""
    topic = emulator.create_topic()
    emulator.fault("garbage", body=page("A", "B"), times=-1)
    with pytest.raises(EventStreamsError, match="again after it was read"):
        read(emulator, topics=[{"id": topic}], start_from="latest")
    assert len(emulator.requests()) <= 5


AN_HOUR, DAY = 3_600.0, 86_400.0
# The service's clock against the local one.
CLOCKS: dict[str, dict[str, Any]] = {
    "no date": {"date_header": False},
    "no date, local clock ahead": {"date_header": False, "clock_offset_secs": -AN_HOUR},
    "no date, local clock behind": {"date_header": False, "clock_offset_secs": AN_HOUR},
    "local clock a day behind": {"clock_offset_secs": DAY},
    "local clock a day ahead": {"clock_offset_secs": -DAY},
}


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("name", CLOCKS)
def test_latest_loses_nothing_and_reads_nothing_old(emulator, name):
    """Messages between two runs are read by the second, and only they."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    last_ago = 3 * DAY if name == "no date" else 5 * AN_HOUR
    times = [ago(last_ago + secs - offset) for secs in range(200, 0, -1)]
    emulator.load(topic, [{"old": n} for n in range(200)], times=times)
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    requests = len(emulator.requests())
    assert requests <= 30
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", ["no date, local clock ahead", "local clock a day ahead"])
def test_latest_of_an_empty_topic_loses_nothing(emulator, name):
    """There is no message to name, and a timestamp in the future would skip messages."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = read(emulator, **settings)
    assert first.records() == []
    new = emulator.load(topic, [{"new": n} for n in range(3)])
    assert ids(read(emulator, state=first.states[-1], **settings)) == new


@pytest.mark.parametrize("name", [name for name in CLOCKS if "date, local" not in name])
def test_a_run_is_not_cut_off(emulator, caplog, name):
    """Everything that was there when it began is read, however old."""
    emulator.configure(**CLOCKS[name])
    topic = emulator.create_topic()
    offset = CLOCKS[name].get("clock_offset_secs", 0.0)
    times = [
        ago(secs - offset) for secs in (5 * AN_HOUR, 5 * AN_HOUR, 1_800, 1_200, 600, 300, 5, 4, 3)
    ]
    published = emulator.load(topic, [{} for _ in times], times=times)
    outcome = read(emulator, topics=[{"id": topic}], batch_size=2)
    assert ids(outcome) == published
    assert consumed(emulator)[-1]["after_message_id"] == published[-1]
    assert len(warnings(caplog)) == (name == "no date")
