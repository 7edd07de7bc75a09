"""Slow, large or malformed responses: a run ends with one line that names the cause."""

import gzip
import resource
import socket
import subprocess
import time
from dataclasses import replace

import pytest

from tests.support.connector import Connector
from tests.support.executables import environment
from tests.support.raw_service import RawService, http_response

MEGABYTE = 1024 * 1024


@pytest.mark.parametrize("begin", [b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\n\r\n{"])
def test_a_slow_response_has_a_deadline(connector, begin):
    """`request_timeout_secs` covers the whole response, not the time between two bytes."""

    def trickle(connection: socket.socket, _number: int) -> None:
        connection.sendall(begin)
        while True:
            time.sleep(0.1)
            connection.sendall(b" ")

    with RawService(trickle) as service:
        outcome = connector.run(service.url, request_timeout_secs=1, max_retry_secs=0)
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


def test_no_log_line_contains_text_from_a_response(connector):
    """A token or payload that a service or gateway echoes is not logged, at any level."""
    if connector.input:
        # The target stops at the first error, so each response needs its own run.
        for name in ("status line", "chunks", "header", "content type", "json error"):
            _check_log(connector, [MALFORMED[name]])
    else:
        _check_log(connector.with_topics(len(MALFORMED)), list(MALFORMED.values()))


def _check_log(connector: Connector, responses: list[bytes]) -> None:
    """Run a connector whose topics have these responses."""

    def respond(connection: socket.socket, number: int) -> None:
        topic = int(service.requests[number].split(b"/topics/")[1].split(b"/")[0])
        connection.sendall(responses[topic - 1])
        connection.close()

    with RawService(respond) as service:
        outcome = connector.run(service.url, env={"LOGLEVEL": "DEBUG"}, max_retry_secs=0)
    assert outcome.exit_code == 1
    assert len(outcome.error_lines) == len(responses)
    assert all("orders" in line for line in outcome.error_lines)
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

    # The target publishes its record twice, each time in a request of its own.
    twice = connector.input + b"".join(connector.input.splitlines(keepends=True)[1:2])
    with RawService(respond) as service:
        outcome = replace(connector, input=twice).run(service.url, batch_size_rows=1)
    assert (outcome.exit_code, outcome.error_lines) == (0, [])
    assert len(service.requests) == 2
    assert service.connections == 2
    assert "HTTP 404" not in outcome.stderr
