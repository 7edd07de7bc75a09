"""A run ends, even on a busy topic or if the service repeats pages, and its exit code is true."""

import signal
import threading

import pytest
from workato_streams_emulator import Emulator

from tests.support.injection import NO_SUCH_HOST, injected
from tests.support.running import eventually
from tests.support.tap import bookmark, read_slowly
from tests.support.tap_output import ago, all_ago, assert_states_are_true, consumed, ids

HOUR = 3_600


def cursors(emulator: Emulator) -> list[str | None]:
    """Return the cursor of each request, None without one."""
    return [body.get("after_message_id") for body in consumed(emulator)]


@pytest.mark.parametrize(
    ("count", "page_limit", "last_of_pages"),
    [(120, None, [49, 99, 119]), (10, 3, [2, 5, 8, 9]), (0, None, [])],
    ids=["full pages", "short pages", "an empty topic"],
)
def test_only_an_empty_page_is_the_end(emulator, topic, run_tap, count, page_limit, last_of_pages):
    """A page may be shorter than `batch_size` before the end of the topic."""
    published = emulator.load(topic, [{}] * count)
    emulator.configure(page_limit=page_limit)
    outcome = run_tap(topics=[topic])
    kinds = [message["type"] for message in outcome.messages if message["type"] != "STATE"]
    assert (outcome.exit_code, kinds) == (0, ["SCHEMA", *["RECORD"] * count])
    assert ids(outcome) == published
    assert cursors(emulator) == [None, *(published[last] for last in last_of_pages)]
    assert_states_are_true(outcome)


@pytest.mark.parametrize(
    ("service", "secs_ago"),
    [
        ({}, -60),
        ({"clock_offset_secs": -HOUR}, HOUR - 60),
        ({"clock_offset_secs": HOUR}, -HOUR - 60),
        ({"date_header": False}, -60),
    ],
    ids=["clocks agree", "service behind", "service ahead", "no date"],
)
def test_a_message_newer_than_the_run_is_in_the_last_page(emulator, run_tap, service, secs_ago):
    """The service's clock decides if it sends a date, whatever the local clock says."""
    emulator.configure(**service)
    times = [*all_ago(5 * HOUR, 3), *all_ago(secs_ago, 4)]
    published = emulator.load(emulator.create_topic(), [{} for _ in times], times=times)
    first = run_tap(topics=[1], batch_size=2)
    assert first.exit_code == 0
    assert ids(first) == published[:4]
    assert cursors(emulator) == [None, published[1]]
    second = run_tap(topics=[1], state=first.states[-1])
    assert ids(second) == published[4:]


def test_a_run_on_a_busy_topic_ends(emulator, topic, run_tap):
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


@pytest.mark.parametrize("tail", [False, True])
def test_max_messages_may_end_a_run_within_a_page(emulator, run_tap, tail):
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(10)))
    first = run_tap(topics=[1], batch_size=4, max_messages=6, tail=tail)
    assert first.exit_code == 0
    assert ids(first) == published[:6]
    assert bookmark(first.states[-1], "topic_1") == published[5]
    second = run_tap(topics=[1], state=first.states[-1])
    assert ids(second) == published[6:]


def test_max_messages_counts_all_topics_together(emulator, run_tap):
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
    published = emulator.load(emulator.create_topic(), ({"n": n} for n in range(200)))
    emulator.configure(latency_secs=0.1)
    first = run_tap(topics=[1], batch_size=1, max_run_secs=1)
    assert first.exit_code == 0
    read = ids(first)
    assert 0 < len(read) < 200
    assert read == published[: len(read)]
    assert bookmark(first.states[-1], "topic_1") == read[-1]
    emulator.configure(latency_secs=0.0)
    assert ids(run_tap(topics=[1], state=first.states[-1])) == published[len(read) :]


def test_max_run_secs_ends_tail_mode_during_a_long_poll(emulator, run_tap):
    published = emulator.load(emulator.create_topic(), [{}, {}])
    outcome = run_tap(topics=[1], tail=True, max_run_secs=1)
    assert outcome.exit_code == 0
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
    last = emulator.requests()[-1]
    assert b'"timeout_secs":45' in last.body
    assert last.status is None


def test_without_tail_mode_a_long_poll_waits_once(emulator, run_tap):
    """With `timeout_secs` a run waits for new messages; an empty page is its end."""
    emulator.create_topic()
    outcome = run_tap(topics=[1], timeout_secs=1)
    assert outcome.exit_code == 0
    assert [body["timeout_secs"] for body in consumed(emulator)] == [1]


@pytest.mark.parametrize("start_from", ["earliest", "latest"])
def test_a_service_that_repeats_a_page_ends_the_run(emulator, run_tap, start_from):
    """A page whose last message is the cursor brings nothing new, also to the search for latest."""
    messages = [{"message_id": each, "payload": None, "time": ago(HOUR)} for each in ("A", "B")]
    emulator.fault("garbage", body={"messages": messages}, times=-1)
    outcome = run_tap(topics=[emulator.create_topic()], start_from=start_from)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "topic_1 (topic 1): the service returned message B again after it was read" in line
    assert ids(outcome) == (["A", "B"] if start_from == "earliest" else [])
    assert len(emulator.requests()) == 2
    if start_from == "earliest":
        assert bookmark(outcome.states[-1], "topic_1") == "B"


@pytest.mark.parametrize(
    ("service", "offset_secs", "warnings"),
    [
        ({"date_header": False}, 0, 1),
        ({"clock_offset_secs": 24 * HOUR}, 24 * HOUR, 0),
        ({"clock_offset_secs": -24 * HOUR}, -24 * HOUR, 0),
    ],
    ids=["no date", "service ahead", "service behind"],
)
def test_a_run_is_not_cut_off(emulator, topic, run_tap, service, offset_secs, warnings):
    """Everything that was there when it began is read, by the service's clock."""
    emulator.configure(**service)
    times = [ago(secs - offset_secs) for secs in (5 * HOUR, 5 * HOUR, 1_800, 600, 300, 5, 4, 3)]
    published = emulator.load(topic, [{} for _ in times], times=times)
    outcome = run_tap(topics=[topic], batch_size=2)
    assert ids(outcome) == published
    assert consumed(emulator)[-1]["after_message_id"] == published[-1]
    assert outcome.stderr.count("WARNING") == warnings


LIMIT_ENDED = "; a limit ended the run before a retry succeeded"


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (None, "HTTP 503"),
        ("http://127.0.0.1:9", "Connection refused"),
        ("https://no-such-host.invalid", "Name or service not known"),
    ],
    ids=["503", "refused", "no host"],
)
def test_a_run_that_a_limit_ends_while_a_request_is_retried_has_failed(
    emulator, topic, run_tap, tmp_path, url, error
):
    emulator.fault("status", status=503, times=-1)
    settings = {"api_url": url or emulator.url, "max_run_secs": 1}
    env = injected(tmp_path / "site", NO_SUCH_HOST if "Name" in error else "")
    run = run_tap(topics=[topic], env=env, **settings)
    assert run.exit_code == 1
    assert error in run.stderr.splitlines()[-1]
    assert LIMIT_ENDED in run.stderr.splitlines()[-1]


def test_a_deleted_topic_fails_a_run_that_max_messages_ends(emulator, topic, start_with_pipe):
    """Also if its error comes while the last page is being written."""
    emulator.load(topic, [{"text": "x" * 5_000}] * 50)
    deleted = topic + 1
    emulator.fault("latency", secs=0.7, topic_id=deleted)
    settings = {"max_messages": 50, "state_interval_secs": 0.1}
    # Of topics that have never been read, names decide.
    topics = [{"id": deleted, "name": "deleted"}, topic]
    process = start_with_pipe(topics=topics, **settings)
    eventually(lambda: [r.status for r in emulator.requests(topic_id=deleted)] == [404], "an error")
    run = read_slowly(process, chunk_bytes=30_000, rest_secs=0.05)
    assert (run.exit_code, len(ids(run))) == (1, 50)
    last = run.stderr.splitlines()[-1]
    assert f"deleted (topic {deleted}): HTTP 404" in last
    assert LIMIT_ENDED not in last


def test_a_deleted_topic_fails_a_run_although_the_limit_came_first(emulator, topic, run_tap):
    """Its response is a moment late; of topics that have never been read, names decide."""
    emulator.load(topic, [{}] * 10)
    emulator.fault("latency", secs=0.5, topic_id=topic + 1)
    run = run_tap(topics=[{"id": topic + 1, "name": "deleted"}, topic], max_messages=10)
    assert (run.exit_code, len(ids(run))) == (1, 10)
    assert "HTTP 404" in run.stderr.splitlines()[-1]


def test_a_message_that_cannot_be_written_fails_a_run_whose_limit_has_passed(
    emulator, topic, start_with_pipe
):
    """The loader reads slowly, so the limit is reached while the page is being written."""
    published = emulator.load(topic, [{"text": "x" * 5_000}] * 40 + [{}])
    maps = {"topic_1": {"text": "payload['text']"}}
    process = start_with_pipe(topics=[topic], max_run_secs=1, stream_maps=maps)
    run = read_slowly(process, chunk_bytes=20_000, rest_secs=0.2)
    assert run.exit_code == 1
    assert f"message {published[-1]} cannot be written" in run.stderr.splitlines()[-1]
    assert bookmark(run.states[-1], "topic_1") == published[-2]


@pytest.mark.parametrize("after", [0, 3], ids=["only 429s", "used by others"])
def test_a_limit_that_ends_a_pause_is_a_failure_only_if_nothing_was_read(emulator, run_tap, after):
    """While requests succeed, a 429 says that the quota is used, which is no failure."""
    topics = [emulator.create_topic("one"), emulator.create_topic("other")]
    emulator.load(1, [{}] * 10)
    emulator.fault("status", status=429, headers={"Retry-After": "60"}, after=after, times=-1)
    run = run_tap(topics=topics, batch_size=1, max_run_secs=1)
    assert run.exit_code == (0 if after else 1)
    assert (LIMIT_ENDED in run.stderr) is not bool(after)


def test_the_last_line_is_the_error_that_ended_the_run(emulator, start_tap):
    """Not the one that occurred first, which another topic still has."""
    deleted, good = emulator.create_topic("deleted"), emulator.create_topic("good")
    emulator.fault("status", status=404, topic_id=deleted, times=-1)
    tail = start_tap(topics=[deleted, good], tail=True, timeout_secs=1)
    tail.wait_for(lambda run: run.error_lines, "the first error")
    emulator.fault("status", status=401, topic_id=good, times=-1)
    ended = tail.end()
    assert ended.exit_code == 1
    assert [line.count("HTTP 404") for line in ended.error_lines] == [1, 1, 0]
    assert f"topic_{good} (topic {good}): HTTP 401" in ended.stderr.splitlines()[-1]


def test_max_messages_starves_no_topic(emulator, run_tap):
    """Topics begin in the order in which they were last read; a line counts those not reached."""
    topics = [emulator.create_topic(f"topic {n}") for n in range(10)]
    for topic in topics:
        emulator.load(topic, [{}] * 1_000)
    state = None
    read = set()
    for _ in range(10):
        run = run_tap(topics=topics, max_messages=100, max_parallel_topics=2, state=state)
        assert run.exit_code == 0
        now = {record["topic_id"] for record in run.records()}
        missed = 10 - len(now)
        assert f"not reached: {missed} topics, with which the next run begins" in run.stderr
        state = run.states[-1]
        read |= now
    assert read == set(topics)


def test_max_run_secs_starves_no_topic_behind_idle_ones(emulator, run_tap):
    topics = [emulator.create_topic(f"topic {n}") for n in range(9)]
    published = emulator.load(topics[-1], [{}])
    emulator.configure(latency_secs=0.3)
    state, read = None, []
    for _ in range(9):
        run = run_tap(topics=topics, max_run_secs=1, max_parallel_topics=1, state=state)
        state = run.states[-1]
        read += ids(run)
    assert read == published


def test_max_run_secs_starves_no_topic_behind_one_that_fails(emulator, run_tap):
    bad, good = emulator.create_topic("bad"), emulator.create_topic("good")
    published = emulator.load(good, [{}])
    emulator.fault("status", status=503, topic_id=bad, times=-1)
    settings = {"topics": [bad, good], "max_run_secs": 1, "max_parallel_topics": 1}
    first = run_tap(**settings)
    assert "not reached: 1 topic, with which the next run begins" in first.stderr
    assert ids(run_tap(state=first.states[-1], **settings)) == published


def test_a_signal_does_not_say_that_the_next_run_begins_elsewhere(emulator, start_tap):
    """Without a limit, the order of the topics stays as it is."""
    topics = [emulator.create_topic("one"), emulator.create_topic("other")]
    emulator.fault("latency", secs=60)
    tap = start_tap(topics=topics, max_parallel_topics=1)
    eventually(emulator.requests, "a request")
    tap.send(signal.SIGTERM)
    assert tap.end().stderr.splitlines()[-1].endswith("| not reached: 2 topics")
