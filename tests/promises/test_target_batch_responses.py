"""What each response does to the messages of a batch, and to the run."""

import json
from itertools import chain, pairwise
from typing import Any

import pytest
from tap_workato_streams.plugin.wording import counted
from workato_streams_emulator import Emulator

from tests.support.injection import NO_SUCH_HOST, injected
from tests.support.running import eventually
from tests.support.singer_lines import orders, record, schema, state
from tests.support.target import dead_letters_in

TRANSIENT: list[tuple[str, dict[str, Any]]] = [
    ("status", {"status": 408}),
    ("status", {"status": 425}),
    ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 502, "body": "<html>Bad gateway</html>"}),
    ("status", {"status": 503, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 504, "stored": True}),
    ("reset", {}),
    ("reset_after", {}),
    ("cut", {}),
    ("cut_json", {}),
    ("html", {}),
    ("garbage", {}),
    ("stall", {"secs": 0.2}),
    ("stall", {"secs": 60.0}),
]
STORED = {"reset_after", "cut", "cut_json", "html", "garbage"}


def ids(emulator: Emulator, topic: int) -> list[int]:
    """The ids of the records in the topic, in order."""
    return [payload["id"] for payload in emulator.payloads(topic)]


def test_an_entry_without_a_result_is_resent_before_a_later_rejection_ends_the_run(
    emulator, checked, run_target
):
    """It may not have arrived, and all records before a rejected one are published."""
    emulator.fault("missing_entry", topic_id=checked, indices=[0], stored=False)
    fed = [schema(), record(id=0), record(id="x"), state("all")]
    done = run_target(*fed, topics={"*": checked}, max_retry_secs=0)
    assert done.exit_code == 1
    [line] = done.error_lines
    assert "orders, line 3: rejected" in line
    assert ids(emulator, checked) == [0]


@pytest.mark.parametrize(("kind", "options"), TRANSIENT)
def test_transient_failures_are_retried_until_they_succeed(
    emulator, topic, run_target, kind, options
):
    """Nothing is lost or reordered, and only a lost response duplicates a batch."""
    for requests_before in (0, 2, 4):
        emulator.fault(kind, after=requests_before, **options)
    # No other request may time out, even on a busy machine.
    timeout_secs = 2 if kind == "stall" else 30
    done = run_target(
        schema(), *orders(30), state("all"), batch_size_rows=10, request_timeout_secs=timeout_secs
    )
    times = 2 if kind in STORED or options.get("stored") else 1
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    batches = [list(range(n, n + 10)) * times for n in (0, 10, 20)]
    assert ids(emulator, topic) == list(chain(*batches))
    assert len(emulator.requests()) == 6
    # A 503 with Retry-After is rate limiting, too.
    throttled = options.get("status") in {425, 429} or options.get("status") == 503
    doubts = 0 if throttled else 30
    assert f"30 resent, {doubts} possibly duplicated, 6 requests" in done.stderr


def test_a_429_for_longer_than_max_retry_secs_ends_the_run_for_all_topics(
    emulator, topic, run_target
):
    """The quota is the workspace's: no other topic waits for the time in Retry-After."""
    full = emulator.create_topic("full")
    emulator.fault("status", topic_id=full, status=429, headers={"Retry-After": "3600"}, times=-1)
    emulator.fault("latency", topic_id=topic, secs=2)
    topics = {"orders": topic, "full": full}
    fed = [*orders(2), state("before"), record("full", id=0), *orders(2, start=2), state("no")]
    done = run_target(schema(), schema("full"), *fed, topics=topics, batch_size_rows=1)
    assert (done.exit_code, done.emitted_states) == (1, [])
    assert len(emulator.requests(topic_id=full)) == 1
    (line,) = done.error_lines
    assert f"full (topic {full}): HTTP 429" in line
    assert "the next attempt would be 3600 s later" in line


@pytest.mark.parametrize("status", [401, 403, 404, 302, 409])
def test_a_wrong_setting_ends_the_run_immediately(emulator, topic, run_target, status):
    """One request, no retry, one line with the status and the service's words, no state."""
    if status == 302:
        emulator.fault("redirect", location="/elsewhere", times=-1)
    else:
        emulator.fault("status", status=status, body='{"message":"because I say so"}', times=-1)
    done = run_target(schema(), *orders(30), state("all"), batch_size_rows=10)
    assert (done.exit_code, done.emitted_states) == (1, [])
    assert len(emulator.requests()) == 1
    (line,) = done.error_lines
    assert f"orders (topic {topic})" in line
    assert str(status) in line
    assert "because I say so" in line or status == 302


@pytest.mark.parametrize("index", [0, 4, 9])
@pytest.mark.parametrize("kind", ["entry_error", "missing_entry"])
def test_after_a_partial_error_only_failed_entries_are_resent(
    emulator, topic, run_target, kind, index
):
    emulator.fault(kind, indices=[index])
    done = run_target(schema(), *orders(10), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    others = [number for number in range(10) if number != index]
    assert ids(emulator, topic) == [*others, index]
    assert [request.body.count(b'"id"') for request in emulator.requests()] == [10, 1]
    assert "1 resent" in done.stderr


def test_an_entry_that_keeps_failing_is_a_rejected_message(emulator, topic, run_target):
    """The run ends with the service's reason, and no state covers the message."""
    emulator.fault("entry_error", indices=[3], reason="disk full")
    emulator.fault("entry_error", indices=[0], reason="disk full", times=-1)
    fed = [*orders(3), state(2), *orders(5, start=3), state(7)]
    done = run_target(schema(), *fed, max_retry_secs=2)
    assert (done.exit_code, done.emitted_states) == (1, [{"at": 2}])
    assert ids(emulator, topic) == [0, 1, 2, 4, 5, 6, 7]
    (line,) = done.error_lines
    assert "disk full" in line
    assert "orders, line 6: rejected" in line
    assert len(emulator.requests()) >= 3


def test_an_entry_that_fails_for_a_transient_reason_gets_through(
    emulator, topic, start_target, tmp_path
):
    emulator.fault("entry_error", indices=[0], reason="temporarily unavailable", times=-1)
    target = start_target(**dead_letters_in(tmp_path / "dead.jsonl"))
    target.feed(schema(), *orders(2), state("all"))
    target.close_input()
    eventually(lambda: len(emulator.requests()) == 4, "three retries")
    emulator.clear_faults()
    done = target.end()
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert ids(emulator, topic) == [1, 0]
    times = [request.at for request in emulator.requests()]
    for retry, (earlier, later) in enumerate(pairwise(times)):
        assert later - earlier >= 0.2 * 2**retry
    assert not (tmp_path / "dead.jsonl").exists()


def test_a_reason_that_persisted_for_one_message_is_not_waited_for_again(
    checked, run_target, tmp_path
):
    """Other messages with the same reason are tried twice."""
    fed = [line.replace(b'"id": %d' % n, b'"id": "%d"' % n) for n, line in enumerate(orders(30))]
    settings = {"topics": {"*": checked}, **dead_letters_in(tmp_path / "dead.jsonl")}
    done = run_target(schema(), *fed, batch_size_rows=10, max_retry_secs=2, **settings)
    assert done.exit_code == 0
    letters = [json.loads(line) for line in (tmp_path / "dead.jsonl").read_bytes().splitlines()]
    attempts = [letter["_error"]["attempts"] for letter in letters if "_error" in letter]
    assert min(attempts[:10]) > 2
    assert attempts[10:] == [2] * 20


@pytest.mark.parametrize("ids", ["{}", '{"0": null}', '{"0": {"message_id": "A1"}}', "[]", None])
def test_a_message_whose_outcome_is_unknown_is_never_a_dead_letter(
    emulator, run_target, tmp_path, ids
):
    """The message is retried as after a lost response, and the error blames the response."""
    body = f'{{"message_ids": {ids}}}' if ids else "{}"
    emulator.fault("status", status=200, body=body, times=-1, stored=True)
    settings = dead_letters_in(tmp_path / "dead.jsonl")
    done = run_target(schema(), *orders(2), state("all"), max_retry_secs=1, **settings)
    assert (done.exit_code, done.emitted_states) == (1, [])
    assert len(emulator.requests()) > 1
    assert not (tmp_path / "dead.jsonl").exists()
    (line,) = done.error_lines
    assert "not understood" in line or "unexpected response" in line
    assert "fix the record" not in line
    assert "2 possibly duplicated" in done.stderr


def test_messages_are_counted_once_as_possibly_duplicated(emulator, topic, run_target):
    emulator.fault("cut", times=2)
    done = run_target(schema(), *orders(10))
    assert done.exit_code == 0
    assert len(ids(emulator, topic)) == 30
    assert "20 resent, 10 possibly duplicated" in done.stderr


@pytest.mark.parametrize(
    ("url", "fault"), [("http://127.0.0.1:9", ""), ("https://no-such-host.invalid", NO_SUCH_HOST)]
)
def test_a_request_that_was_not_sent_duplicates_nothing(run_target, tmp_path, url, fault):
    env = injected(tmp_path / "site", fault)
    done = run_target(schema(), *orders(3), env=env, api_url=url, max_retry_secs=1)
    assert done.exit_code == 1
    assert "0 possibly duplicated" in done.stderr


def test_a_batch_of_bad_messages_costs_about_one_request_each(
    emulator, checked, run_target, tmp_path
):
    """Only the first one is logged; the summary counts them."""
    emulator.configure(rejection="status")
    fed = [line.replace(b'"id": ', b'"id": 0.') for line in orders(500, start=100)]
    settings = {"topics": {"*": checked}, **dead_letters_in(tmp_path / "dead.jsonl")}
    done = run_target(schema(), *fed, state("all"), **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert len(emulator.requests()) <= 1.2 * 500
    (line,) = [line for line in done.stderr.splitlines() if "WARNING" in line]
    assert "rejected and written to the dead-letter file: " in line
    assert "500 dead letters" in done.stderr


def test_a_response_may_contain_a_lone_surrogate(emulator, topic, run_target):
    """A reason with a lone surrogate is a valid response: the batch is not duplicated."""
    entries = {"0": {"result": "success"}, "1": {"result": "failed", "reason": "\ud800 is no text"}}
    emulator.fault("status", status=200, body=json.dumps({"message_ids": entries}))
    done = run_target(schema(), *orders(2), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert ids(emulator, topic) == [1]
    assert [request.body.count(b'"id"') for request in emulator.requests()] == [2, 1]


@pytest.mark.parametrize("rejection", ["partial", 400, 422])
@pytest.mark.parametrize("bad", [{0}, {2, 3, 7, 9}, set(range(10))])
def test_rejected_messages_are_found_and_the_others_published_in_order(
    emulator, checked, run_target, tmp_path, rejection, bad
):
    """Whether it rejects messages or a whole batch, only the bad ones become dead letters."""
    if rejection != "partial":
        emulator.configure(rejection="status", rejection_status=rejection)
    fed = [
        line.replace(b'"id": %d' % number, b'"id": "%d"' % number) if number in bad else line
        for number, line in enumerate(orders(10))
    ]
    settings = {"topics": {"*": checked}, **dead_letters_in(tmp_path / "dead.jsonl")}
    done = run_target(schema(), *fed, state("all"), max_retry_secs=1, **settings)
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert ids(emulator, checked) == [number for number in range(10) if number not in bad]
    assert f"{10 - len(bad)} published, {counted(len(bad), 'dead letter')}" in done.stderr


def test_no_later_message_is_published_after_a_rejected_one(emulator, topic, checked, start_target):
    """Batches that wait are dropped, so that the next run publishes each topic in order."""
    emulator.configure(rejection="status")
    target = start_target(topics={"checked": checked}, batch_size_rows=2, max_batch_age_secs=60)
    rejected, *later = [record("checked", id=each) for each in ("no integer", *range(5))]
    # The batch of the other topic is still under construction then.
    target.feed(schema(), schema("checked"), rejected, record(id=5), *later)
    assert target.end().exit_code == 1
    assert emulator.payloads(checked) == emulator.payloads(topic) == []


@pytest.mark.parametrize("rejection", ["partial", "status"])
def test_a_rejected_message_ends_the_run_after_everything_before_it_is_published(
    emulator, checked, run_target, rejection
):
    """What precedes it is published in every topic, and its state emitted; later states are not."""
    emulator.configure(rejection=rejection)
    other = emulator.create_topic("other")
    # Longer than the retries of an entry: a batch in flight by then is published in any case.
    emulator.fault("latency", secs=2.5, operation="batch", topic_id=other)
    done = run_target(
        schema(),
        schema("others"),
        *orders(5),
        *(line.replace(b"orders", b"others") for line in orders(5)),
        state("before"),
        *(line.replace(b"7", b'"7"') for line in orders(3, start=6)),
        *(line.replace(b"orders", b"others") for line in orders(5, start=5)),
        state("after"),
        topics={"orders": checked, "others": other},
        batch_size_rows=5,
        max_retry_secs=1,
    )
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    # After a partial error, the messages after the bad one in its batch are published.
    after = [8] if rejection == "partial" else []
    assert ids(emulator, checked) == [0, 1, 2, 3, 4, 6, *after]
    assert ids(emulator, other) == [0, 1, 2, 3, 4]
    (line,) = done.error_lines
    assert "orders, line 15: rejected" in line


def test_a_batch_that_gets_413_is_halved_until_it_fits(emulator, topic, run_target):
    """A gateway may have a lower limit than the service."""
    emulator.fault("status", status=413)
    done = run_target(schema(), *orders(10), state("all"))
    assert (done.exit_code, done.emitted_states) == (0, [{"at": "all"}])
    assert ids(emulator, topic) == list(range(10))
    assert [request.body.count(b'"id"') for request in emulator.requests()] == [10, 5, 5]


def test_a_single_message_that_gets_413_is_rejected(emulator, run_target):
    """The message is not retried forever, and the error names the status."""
    emulator.fault("status", status=413, times=-1)
    done = run_target(schema(), *orders(2), state("all"))
    assert (done.exit_code, done.emitted_states) == (1, [])
    assert len(emulator.requests()) == 2
    assert "status 413" in done.error_lines[0]


def test_a_message_too_large_for_any_request_is_rejected_without_one(emulator, topic, run_target):
    """Its size is checked before it is sent; the records before it are published."""
    large = orders(1, start=2, size=1_100_000)
    done = run_target(schema(), *orders(2), state("before"), *large)
    assert (done.exit_code, done.emitted_states) == (1, [{"at": "before"}])
    assert ids(emulator, topic) == [0, 1]
    assert len(emulator.requests()) == 1
    assert "the service's limit of 1,048,576 bytes" in done.error_lines[0]
