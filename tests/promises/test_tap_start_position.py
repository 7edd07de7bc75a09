"""Where reading starts: the settings decide once, and the bookmark from then on."""

import threading
from typing import Any

import pytest
from workato_streams_emulator import Emulator

from tests.support.tap import bookmark, discover
from tests.support.tap_output import ago, all_ago, assert_states_are_true, consumed, ids


@pytest.fixture
def old_and_new(emulator: Emulator) -> list[str]:
    """Topic 1 with three messages of two hours ago and three of a minute ago."""
    topic = emulator.create_topic()
    times = [*all_ago(7_200, 3), *all_ago(60, 3)]
    return emulator.load(topic, [{"n": n} for n in range(6)], times=times)


AN_HOUR_AGO, LONG_AGO = ago(3_600), "2020-01-01T00:00:00Z"
BY_ID, BY_TIME = "replication_key_value", "message_time"
# The settings, what the bookmark of the second message has, the first message to be read, the first
# cursor, and the line in the log.
STARTS: dict[str, tuple[dict[str, Any], set[str], int, set[str], str]] = {
    "earliest": (
        *({}, set(), 0, set()),
        "starting at the earliest message (no bookmark, start_from is earliest)",
    ),
    "latest": (
        *({"start_from": "latest"}, set(), 6, {"since_time"}),
        "starting after the latest message (no bookmark, start_from is latest)",
    ),
    "start_date": (
        *({"start_date": AN_HOUR_AGO}, set(), 3, {"since_time"}),
        f"starting at {AN_HOUR_AGO} (start_date)",
    ),
    "bookmark, start_date": (
        *({"start_date": LONG_AGO}, {BY_ID, BY_TIME}, 2, {"after_message_id"}),
        "resuming after message %s of %s (bookmark)",
    ),
    "bookmark without a time, latest": (
        *({"start_from": "latest"}, {BY_ID}, 2, {"after_message_id"}),
        "resuming after message %s (bookmark)",
    ),
    "bookmark of a time": ({}, {BY_TIME}, 3, {"since_time"}, "resuming at %s (bookmark)"),
}


@pytest.mark.parametrize(
    ("settings", "given", "first", "cursor", "line"), STARTS.values(), ids=STARTS.keys()
)
def test_the_settings_decide_only_without_a_bookmark(
    emulator, old_and_new, run_tap, settings, given, first, cursor, line
):
    """The log says where each stream starts and why. Two cursors are never sent together."""
    second = emulator.messages(1)[1]
    place = {BY_ID: second.message_id, BY_TIME: second.time}
    place = {key: value for key, value in place.items() if key in given}
    state = {"bookmarks": {"topic_1": place}}
    outcome = run_tap(topics=[1], batch_size=2, state=state if given else None, **settings)
    assert outcome.exit_code == 0
    assert ids(outcome) == old_and_new[first:]
    assert outcome.stderr.count(f"topic_1 (topic 1): {line % tuple(place.values())}") == 1
    sent = [body.keys() & {"after_message_id", "since_time"} for body in consumed(emulator)]
    assert sent[0] == cursor
    assert all(each == {"after_message_id"} for each in sent[1:])
    assert len(sent) == len(range(first, 6, 2)) + 1  # The last page is empty.
    assert_states_are_true(outcome, state)


def test_each_topic_may_have_its_own_start(emulator, run_tap):
    times = [ago(7_200), ago(3_600), ago(60)]
    loaded = [emulator.load(emulator.create_topic(), [{}, {}, {}], times=times) for _ in range(3)]
    emulator.load(emulator.create_topic(), [{}], times=[ago(60)])
    outcome = run_tap(
        topics=[
            {"id": 1},
            {"id": 2, "start_date": ago(5_000)},
            {"id": 3, "start_from": "earliest"},
            {"id": 4, "start_from": "latest"},
        ],
        start_date=ago(1_000),
    )
    assert outcome.exit_code == 0
    assert ids(outcome, "topic_1") == loaded[0][2:]
    assert ids(outcome, "topic_2") == loaded[1][1:]
    assert ids(outcome, "topic_3") == loaded[2]
    assert ids(outcome, "topic_4") == []
    assert bookmark(outcome.states[-1], "topic_4") is None
    assert outcome.states[-1]["bookmarks"]["topic_4"]["message_time"]


HOUR, DAY = 3_600, 86_400
SERVICES: dict[str, dict[str, Any]] = {
    "without deviations": {},
    "with short pages": {"page_limit": 2},
    "an hour behind": {"clock_offset_secs": -HOUR},
    "an hour ahead": {"clock_offset_secs": HOUR},
    "a day behind": {"clock_offset_secs": -DAY},
    "a day ahead": {"clock_offset_secs": DAY},
    "no date": {"date_header": False},
    "no date, behind": {"date_header": False, "clock_offset_secs": -HOUR},
    "no date, ahead": {"date_header": False, "clock_offset_secs": HOUR},
}
# The age of the newest message, and how many there are, a second apart.
OLD = {"just now": (0, 5), "a minute": (60, 5), "hours": (5 * HOUR, 200), "days": (3 * DAY, 200)}


@pytest.mark.parametrize("old", [*OLD.values(), (0, 0)], ids=[*OLD, "no message"])
@pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES.keys())
def test_latest_skips_every_old_message_and_no_new_one(emulator, topic, run_tap, service, old):
    """Whatever the service's clock says, and however long the topic has been idle.

    The next run does not read the old messages, either.
    """
    emulator.configure(**service)
    newest_secs, count = old
    skewed_secs = newest_secs - service.get("clock_offset_secs", 0)
    times = [ago(skewed_secs + secs) for secs in range(count - 1, -1, -1)]
    emulator.load(topic, [{"old": True}] * count, times=times)
    settings = {"topics": [{"id": topic}], "start_from": "latest"}
    first = run_tap(**settings)
    assert first.records() == []
    assert "page_limit" in service or len(emulator.requests()) <= 30
    new = emulator.load(topic, [{"new": True}] * 2)
    assert ids(run_tap(state=first.states[-1], **settings)) == new


def test_latest_of_a_topic_that_is_always_busy_is_where_the_run_starts(emulator, topic, start_tap):
    """New messages arrive faster than they can be read, and none of these is skipped."""
    emulator.load(topic, [{"old": True}] * 2)
    emulator.configure(latency_secs=0.05)
    stopped = threading.Event()

    def publish() -> None:
        while not stopped.wait(0.03):
            emulator.load(topic, [{}])

    publishing = threading.Thread(target=publish)
    publishing.start()
    try:
        tap = start_tap(topics=[topic], start_from="latest", tail=True, batch_size=1)
        tap.wait_for_records(10)
    finally:
        stopped.set()
        publishing.join()
    read = ids(tap.kill())
    published = [message.message_id for message in emulator.messages(topic)]
    start = published.index(read[0])
    assert start > 1
    assert read == published[start : start + len(read)]


@pytest.mark.usefixtures("old_and_new")
def test_messages_after_a_killed_tail_from_latest_are_read(emulator, run_tap, start_tap):
    """The start position is emitted before the first message arrives."""
    tail = start_tap(topics=[1], start_from="latest", tail=True, state_interval_secs=0.1)
    tail.wait_for(lambda run: b"message_time" in run.stdout, "the start position in a STATE line")
    killed = tail.kill()
    assert killed.records() == []
    between = emulator.load(1, [{"n": 7}, {"n": 8}])
    assert ids(run_tap(topics=[1], start_from="latest", state=killed.states[-1])) == between


def test_a_full_table_is_read_in_each_run(emulator, old_and_new, run_tap):
    catalog = discover(run_tap, topics=[1])
    for entry in catalog["streams"]:
        entry["replication_method"] = "FULL_TABLE"
        entry["metadata"][0]["metadata"]["forced-replication-method"] = "FULL_TABLE"
    given = {"bookmarks": {"topic_1": {"replication_key_value": old_and_new[3]}}}
    outcome = run_tap(topics=[1], catalog=catalog, state=given)
    assert outcome.exit_code == 0
    assert ids(outcome) == old_and_new
    assert "after_message_id" not in consumed(emulator)[0]
    assert [bookmark(state, "topic_1") for state in outcome.states] == [old_and_new[3]]


def test_a_run_without_new_messages_is_one_request(emulator, old_and_new, run_tap):
    given = run_tap(topics=[1]).states[-1]
    emulator.clear_requests()
    outcome = run_tap(topics=[1], state=given)
    assert (outcome.exit_code, outcome.records(), outcome.states) == (0, [], [given])
    assert consumed(emulator) == [{"batch_size": 50, "after_message_id": old_and_new[-1]}]
    assert len(emulator.requests()) == 1
