"""Retries: the log is accurate, and `max_retry_secs` limits them."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.injection import REFUSED_ONCE, injected
from tests.raw_service import RawService, http_response

if TYPE_CHECKING:
    import socket

    from tests.both.conftest import Connector

THROTTLED = http_response(b"", status="429 Too Many Requests")


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
