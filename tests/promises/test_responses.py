"""Slow, large or malformed responses: a run ends with one line that names the cause."""

from __future__ import annotations

import gzip
import resource
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.connector import Connector
from tests.support.executables import Outcome, environment
from tests.support.raw_service import RawService, http_response

if TYPE_CHECKING:
    import socket

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_a_slow_response_has_a_deadline(connector, begin):
    """`request_timeout_secs` covers the whole response, not the time between two bytes."""

    def trickle(connection: socket.socket, _number: int) -> None:
        connection.sendall(begin)
        for _ in range(600):
            time.sleep(0.1)
            connection.sendall(b" ")

    with RawService(trickle) as service:
        began = time.monotonic()
        outcome = connector.run(service.url, request_timeout_secs=1, max_retry_secs=0)
        assert time.monotonic() - began < 30
    assert outcome.exit_code == 1
    [line] = outcome.error_lines
    assert "orders (topic 1): no complete response (TimeoutError" in line


def test_a_compressed_response_has_a_size_limit(connector):
    """A megabyte that decompresses to a gigabyte needs no more memory than the limit."""
    bomb = gzip.compress(bytes(10 * MEGABYTE)) * 100
    response = http_response(bomb, "Content-Encoding: gzip")

    with RawService(lambda connection, _number: connection.sendall(response)) as service:
        done = subprocess.run(
            connector.command(service.url),
            input=connector.input,
            capture_output=True,
            check=False,
            env=environment(),
            timeout=60,
            preexec_fn=_limit_memory,
        )
    assert done.returncode == 1
    errors = [line for line in done.stderr.decode().splitlines() if "ERROR" in line]
    assert len(errors) == 1
    assert "orders (topic 1): the response is larger than 128 MB; check api_url" in errors[0]
    assert len(service.requests) == 1


def _limit_memory() -> None:
    resource.setrlimit(resource.RLIMIT_DATA, (500 * MEGABYTE, 500 * MEGABYTE))


SECRET = b"private-payload top-secret-token"
MALFORMED = {
    "no status line": SECRET + b"\r\n\r\n",
    "status line": b"HTTP/1.1 200 " + SECRET + b"\r\nContent-Length: 5\r\n\r\n" + SECRET[:5],
    "status": b"HTTP/1.1 999 " + SECRET + b"\r\nContent-Length: 0\r\n\r\n",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SECRET + b"\r\n",
    "chunk size": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n" + SECRET,
    "header": b"HTTP/1.1 200 OK\r\n" + SECRET + b"\r\nContent-Length: 5\r\n\r\n" + SECRET[:5],
    "long header": b"HTTP/1.1 200 OK\r\nX: " + SECRET * 3000 + b"\r\n\r\n",
    "content type": http_response(SECRET, "Content-Type: " + SECRET.decode()),
    "lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6" + SECRET + b"\r\n\r\n",
    "gzip": http_response(SECRET, "Content-Encoding: gzip"),
    "cut off": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + SECRET,
    "redirect": http_response(b"", "Location: https://h/" + SECRET.decode(), status="302 Found"),
    "cookie": http_response(
        b"", "Set-Cookie: a=b; expires=Mon, 01 Not 2026 00:00:00 GMT", status="400 Bad Request"
    ),
    "json error": http_response(
        rb'{"message": "id private-payload; token top-secret-token\n\u001b[31m"}',
        status="400 Bad Request",
    ),
}


# The target stops at the first error, so each response needs its own run.
FOR_THE_TARGET = ("status line", "chunks", "header", "content type", "json error")


def test_no_log_line_contains_text_from_a_response(connector):
    """A token or payload that a service or gateway echoes is not logged, at any level."""
    if not connector.input:
        _check_log(connector, list(MALFORMED))
        return
    for name in FOR_THE_TARGET:
        _check_log(connector, [name])


def _check_log(connector: Connector, names: list[str]) -> None:
    def respond(connection: socket.socket, number: int) -> None:
        topic = int(service.requests[number].split(b"/topics/")[1].split(b"/")[0])
        connection.sendall(MALFORMED[names[topic - 1]])
        connection.close()

    topics = connector.topics
    if not connector.input:
        topics = [{"id": number} for number in range(1, len(names) + 1)]
    debug = {"LOGLEVEL": "DEBUG"}
    with RawService(respond) as service:
        outcome = connector.run(service.url, env=debug, topics=topics, max_retry_secs=0)
    assert outcome.exit_code == 1
    assert len(outcome.error_lines) == len(names)
    assert all("topic" in line or "orders, line 2" in line for line in outcome.error_lines)
    assert "top-secret" not in outcome.stderr
    assert "Warning" not in outcome.stderr
    assert outcome.stderr.replace("\n", "").isprintable()
    # The tap sends no payloads that a service could echo in an error.
    echoed = "id private-payload; token ***"
    assert "private-payload" not in outcome.stderr.replace("" if connector.input else echoed, "")


def test_a_second_response_is_not_used_for_the_next_request(connector):
    """A connection with unread bytes is closed instead of being reused."""
    late = http_response(b'{"message": "late"}' + b" " * MEGABYTE, status="404 Not Found")

    def respond(connection: socket.socket, number: int) -> None:
        body = connector.body
        if number == 0 and not connector.input:
            body = b'{"messages":[{"message_id":"A","payload":{},"time":"2024-01-01T00:00:00Z"}]}'
        connection.sendall(http_response(body) + (late if number == 0 else b""))

    with RawService(respond) as service:
        run = _run_with_a_pause if connector.input else Connector.run
        outcome = run(connector, service.url)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    assert len(service.requests) == 2
    assert service.connections == 2
    assert "404" not in outcome.stderr


def _run_with_a_pause(connector: Connector, url: str) -> Outcome:
    """Run the target with two batches; the second one follows after a pause."""
    process = subprocess.Popen(
        connector.command(url, max_batch_age_secs=0),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write(connector.input)
    process.stdin.flush()
    assert process.stdout.readline()
    stdout, stderr = process.communicate(connector.input.splitlines(keepends=True)[1])
    return Outcome(process.returncode, stdout, stderr.decode())
