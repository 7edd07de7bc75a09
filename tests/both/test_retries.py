"""Retries: the log is accurate, and `max_retry_secs` limits them."""

from __future__ import annotations

import re
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from tests.injection import REFUSED_ONCE, injected
from tests.raw_service import RawService, http_response
from tests.running import WAIT_SECS

if TYPE_CHECKING:
    import socket

    from tests.both.conftest import Connector

THROTTLED = http_response(b"", status="429 Too Many Requests")


def throttled(secs: int) -> bytes:
    """A 429 that asks to wait."""
    return http_response(b"", f"Retry-After: {secs}", status="429 Too Many Requests")


def test_the_logged_wait_is_the_actual_wait(connector: Connector) -> None:
    """Both connectors log a warning for each retry, also after a 429 without Retry-After."""
    times: list[float] = []

    def respond(connection: socket.socket, number: int) -> None:
        times.append(time.monotonic())
        connection.sendall(THROTTLED if number < 2 else http_response(connector.body))

    with RawService(respond) as service:
        outcome = connector.run(service.url)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    announced = re.findall(r"WARNING .* retrying in ([\d.]+) s", outcome.stderr)
    logged = [float(secs) for secs in announced]
    waited = [later - earlier for earlier, later in pairwise(times)]
    assert len(logged) == len(waited) == 2
    for said, actual in zip(logged, waited, strict=True):
        # On a busy machine a request may be late, but never early.
        assert said - 0.1 <= actual <= said + 5.0


def test_a_429_never_shortens_the_pause_of_another_one(connector: Connector) -> None:
    """Two requests are in flight, and the service asks the second one to wait for less."""
    asked: list[float] = []
    both_sent, first_answered = threading.Barrier(2), threading.Event()

    def respond(connection: socket.socket, number: int) -> None:
        asked.append(time.monotonic())
        if number > 1:
            connection.sendall(http_response(connector.body))
            return
        both_sent.wait(WAIT_SECS)
        if number == 0:
            connection.sendall(throttled(4))
            first_answered.set()
        else:
            assert first_answered.wait(WAIT_SECS)
            # The client handles responses in threads, in the order of their arrival.
            time.sleep(0.5)
            connection.sendall(throttled(1))

    with RawService(respond) as service:
        outcome = connector.with_topics(2).run(service.url)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    first, second, third, *_ = asked
    assert third - max(first, second) >= 4


@pytest.mark.parametrize(("secs", "requests"), [(2, 2), (60, 1)])
def test_a_retry_waits_as_long_as_the_service_asks_if_there_is_time(
    connector: Connector, secs: int, requests: int
) -> None:
    """A `Retry-After` beyond `max_retry_secs` ends the retries at once."""
    times: list[float] = []

    def respond(connection: socket.socket, number: int) -> None:
        times.append(time.monotonic())
        unavailable = http_response(b"", f"Retry-After: {secs}", status="503 Unavailable")
        connection.sendall(http_response(connector.body) if number else unavailable)

    with RawService(respond) as service:
        outcome = connector.run(service.url, max_retry_secs=10)
    assert len(times) == requests
    if requests > 1:
        assert (outcome.exit_code, outcome.error_lines) == (0, [])
        assert times[1] - times[0] >= secs
    else:
        assert outcome.exit_code == 1
        [line] = outcome.error_lines
        assert "HTTP 503" in line
        assert f"asked to wait {secs} s" in line


def test_after_429s_requests_are_sent_one_by_one_until_one_succeeds(connector: Connector) -> None:
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


def test_retries_end_after_max_retry_secs(connector: Connector) -> None:
    """Pauses after a 429 count towards the limit."""
    times: list[float] = []

    def respond(connection: socket.socket, _number: int) -> None:
        times.append(time.monotonic())
        connection.sendall(THROTTLED)

    with RawService(respond) as service:
        outcome = connector.run(service.url, max_retry_secs=2)
        ended = time.monotonic()
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert re.search(r"HTTP 429 .*; gave up after \d s \(max_retry_secs is 2\)", line)
    assert ended - times[0] < 10


def test_the_error_names_the_cause_of_the_last_attempt(connector: Connector) -> None:
    """The first attempt is refused, and the second one gets no response."""
    env = injected(connector.folder / "site", REFUSED_ONCE)
    with RawService(lambda connection, _number: connection.close()) as service:
        outcome = connector.run(service.url, env=env, max_retry_secs=0.5)
    assert outcome.exit_code == 1
    assert "no complete response (ConnectionRefusedError" in outcome.stderr
    [line] = outcome.error_lines
    assert "no complete response (RemoteDisconnected" in line


def test_a_login_page_ends_the_run_after_a_few_attempts(connector: Connector) -> None:
    """The error names the URL to check; the page is not requested for five minutes."""
    page = http_response(b"<html>Sign in</html>", "Content-Type: text/html")
    with RawService(lambda connection, _number: connection.sendall(page)) as service:
        outcome = connector.run(service.url)
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "unexpected response (20 bytes, text/html); check api_url; gave up after 5 att" in line
    assert len(service.requests) == 5


def test_a_warning_about_a_retry_contains_no_other_advice(connector: Connector) -> None:
    """The connector tries again itself."""

    def respond(connection: socket.socket, number: int) -> None:
        unavailable = http_response(b"", status="503 Service Unavailable")
        connection.sendall(http_response(connector.body) if number else unavailable)

    with RawService(respond) as service:
        outcome = connector.run(service.url)
    assert outcome.exit_code == 0
    assert "HTTP 503 (Service Unavailable); retrying in " in outcome.stderr
