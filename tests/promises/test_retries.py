"""Transient faults are retried, within `max_retry_secs`, and each message is emitted once."""

import re
import socket
import threading
import time
from itertools import pairwise
from typing import Any

import pytest

from tests.support.injection import REFUSED_ONCE, injected
from tests.support.raw_service import RawService, http_response
from tests.support.running import WAIT_SECS, eventually
from tests.support.tap import bookmark
from tests.support.tap_output import assert_states_are_true, consumed, ids

THROTTLED = http_response(b"", status="429 Too Many Requests")
UNAVAILABLE = http_response(b"", status="503 Service Unavailable")


def throttled(secs: int) -> bytes:
    """A 429 that asks to wait."""
    return http_response(b"", f"Retry-After: {secs}", status="429 Too Many Requests")


def test_a_429_never_shortens_the_pause_of_another_one(connector):
    """Two requests are in flight, and the service asks the second one to wait for less."""
    asked: list[float] = []
    both_sent = threading.Barrier(2)

    def respond(connection: socket.socket, number: int) -> None:
        asked.append(time.monotonic())
        if number > 1:
            connection.sendall(http_response(connector.body))
            return
        both_sent.wait(WAIT_SECS)
        if number == 0:
            connection.sendall(throttled(2))
        else:
            eventually(lambda: "retrying in" in running.stderr, "the pause of the first request")
            connection.sendall(throttled(1))

    with RawService(respond) as service:
        running = connector.with_topics(2).start(service.url)
        try:
            outcome = running.end()
        finally:
            running.kill()
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    first, second, third, *_ = asked
    assert third - max(first, second) >= 2


@pytest.mark.parametrize(("secs", "requests"), [(1, 2), (60, 1)])
def test_a_retry_waits_as_long_as_the_service_asks_if_there_is_time(connector, secs, requests):
    """A `Retry-After` beyond `max_retry_secs` ends the retries at once."""
    times: list[float] = []

    def respond(connection: socket.socket, number: int) -> None:
        times.append(time.monotonic())
        unavailable = http_response(b"", f"Retry-After: {secs}", status="503 Unavailable")
        connection.sendall(http_response(connector.body) if number else unavailable)

    with RawService(respond) as service:
        outcome = connector.run(service.url, max_retry_secs=5)
    assert len(times) == requests
    if requests > 1:
        assert (outcome.exit_code, outcome.error_lines) == (0, [])
        assert times[1] - times[0] >= secs
    else:
        assert outcome.exit_code == 1
        [line] = outcome.error_lines
        assert "HTTP 503" in line
        assert f"as the next attempt would be {secs} s later (max_retry_secs is 5)" in line


def test_after_429s_requests_are_sent_one_by_one_until_one_succeeds(connector):
    """The 429s of requests that were in flight count as one, so the pause is short."""
    count, failing = 8, 2
    asked: list[float] = []
    all_sent = threading.Barrier(count)

    def respond(connection: socket.socket, number: int) -> None:
        asked.append(time.monotonic())
        if number < count:
            all_sent.wait(WAIT_SECS)
            connection.sendall(THROTTLED)
        elif number < count + failing:
            connection.sendall(http_response(b"", status="502 Bad Gateway"))
        else:
            connection.sendall(http_response(connector.body))

    with RawService(respond) as service:
        outcome = connector.with_topics(count).run(service.url)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    # The second of eight consecutive 429s would pause for a minute at most, this one for a second.
    assert asked[count] - asked[count - 1] < 15
    careful = asked[count : count + failing + 1]
    assert all(later - earlier > 0.9 for earlier, later in pairwise(careful))


@pytest.mark.parametrize(
    ("response", "max_retry_secs", "reason"),
    [
        pytest.param(THROTTLED, 2, "HTTP 429 ", id="429"),
        pytest.param(UNAVAILABLE, 1, "HTTP 503 ", id="503"),
        pytest.param(UNAVAILABLE, 0, "HTTP 503 ", id="no retries"),
        pytest.param(b"", 1, "no complete response ", id="no response"),
        pytest.param(http_response(b"<html>"), 0, "unexpected response ", id="a page"),
    ],
)
def test_retries_end_after_max_retry_secs(connector, response, max_retry_secs, reason):
    """Pauses after a 429 count towards the limit; the error says how long the retries took."""
    times: list[float] = []

    def respond(connection: socket.socket, _number: int) -> None:
        times.append(time.monotonic())
        connection.sendall(response)
        connection.close()

    with RawService(respond) as service:
        outcome = connector.run(service.url, max_retry_secs=max_retry_secs)
        ended = time.monotonic()
    assert (outcome.exit_code, outcome.records()) == (1, [])
    [line] = outcome.error_lines
    limit = rf"(, as the next attempt would be \d s later)? \(max_retry_secs is {max_retry_secs}\)"
    assert re.search(rf"orders \(topic 1\): {reason}.*; gave up after \d s{limit}", line)
    assert "Traceback" not in outcome.stderr
    assert ended - times[0] < 10
    assert (len(times) == 1) == (max_retry_secs == 0)


def test_the_error_names_the_cause_of_the_last_attempt(connector):
    env = injected(connector.folder / "site", REFUSED_ONCE)
    with RawService(lambda connection, _number: connection.close()) as service:
        outcome = connector.run(service.url, env=env, max_retry_secs=1)
    assert outcome.exit_code == 1
    assert "no complete response (ConnectionRefusedError" in outcome.stderr
    [line] = outcome.error_lines
    assert "no complete response (RemoteDisconnected" in line


def test_a_login_page_ends_the_run_after_a_few_attempts(connector):
    """The error names the URL to check; the page is not requested for five minutes."""
    package = connector.name.replace("-", "_")
    short_waits = f"from {package}.event_streams import session; session.LONGEST_WAIT_SECS = 0.1"
    env = injected(connector.folder / "site", short_waits)
    page = http_response(b"<html>Sign in</html>", "Content-Type: text/html")
    with RawService(lambda connection, _number: connection.sendall(page)) as service:
        outcome = connector.run(service.url, env=env, max_retry_secs=10)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "unexpected response (20 bytes, text/html); check api_url; gave up after 5 att" in line
    assert len(service.requests) == 5


FAULTS: list[dict[str, Any]] = [
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 503},
    *({"kind": kind} for kind in ("reset", "reset_after", "cut", "cut_json", "html", "garbage")),
    {"kind": "stall", "secs": 60},
]
# Read in pages of 10, 25 messages are four requests: the last finds that nothing is left.
FIRST, MIDDLE, LAST = 0, 2, 3


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: str(fault.get("status", fault["kind"])))
def test_a_fault_at_the_first_the_middle_and_the_last_request(emulator, run_tap, fault):
    """Three topics are read concurrently, each with the fault at another request."""
    failing = {1: FIRST, 2: MIDDLE, 3: LAST}
    published = {}
    for topic, position in failing.items():
        emulator.create_topic(f"topic {topic}", id=topic)
        published[topic] = emulator.load(topic, [{"n": n} for n in range(25)])
        emulator.fault(topic_id=topic, after=position, **fault)
    # No other request may time out, even on a busy machine.
    timeout_secs = 2 if fault["kind"] == "stall" else 30
    outcome = run_tap(topics=[1, 2, 3], batch_size=10, request_timeout_secs=timeout_secs)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    assert_states_are_true(outcome)
    for topic, position in failing.items():
        assert ids(outcome, f"topic_{topic}") == published[topic]
        assert bookmark(outcome.states[-1], f"topic_{topic}") == published[topic][-1]
        asked = consumed(emulator, topic)
        assert len(asked) == LAST + 2
        assert asked[position] == asked[position + 1]
        assert len(re.findall(rf"\(topic {topic}\).* retrying in", outcome.stderr)) == 1
