"""The next page is asked for while the last one is written; waits do not hold a page back."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.executables import Outcome
from tests.running import eventually
from tests.tap.running import bookmark, start_with_pipe
from tests.tap.singer import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulator.control import Emulator
    from tests.tap.conftest import StartTap, TapConfig

# So long that the end of the connection is there before the page is split, and the next asked for.
PAYLOAD = b'"%b"' % (b"x" * 10_000_000)
PAGE = (
    b'{"messages":[{"message_id":"A","payload":%b,"time":"2024-01-01T00:00:00.000+00:00"}]}'
    % PAYLOAD
)


class AnswerOnce(Protocol):
    """Starts a service that answers one request, ends the connection, and answers no more.

    By HTTP/1.0 that is announced; by HTTP/1.1, without a header that says so, it is not.
    """

    def __call__(self, version: str, before: Callable[[HTTPServer], None]) -> str:
        """Return its URL; ``before`` is called just before it answers."""


@pytest.fixture
def answer_once() -> Iterator[AnswerOnce]:
    """A service that serves but one page."""
    with contextlib.ExitStack() as started:

        def start(version: str, before: Callable[[HTTPServer], None]) -> str:
            class Handler(BaseHTTPRequestHandler):
                protocol_version = version

                def do_POST(self) -> None:
                    self.rfile.read(int(self.headers["Content-Length"]))
                    before(server)
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(PAGE)))
                    self.end_headers()
                    self.wfile.write(PAGE)
                    self.close_connection = True

                def log_message(self, *_: object) -> None:
                    pass

            class Server(HTTPServer):
                request_queue_size = 0

            server = started.enter_context(Server(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.handle_request, daemon=True).start()
            return f"http://127.0.0.1:{server.server_port}"

        yield start


def test_the_next_page_is_asked_for_while_the_last_one_is_written(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """A page is written once the next request is sent whole, and before it is answered."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(60)])
    emulator.fault("stall", after=1, secs=60)
    tap = start_tap(topics=[topic])
    tap.wait_for_records(50)
    first, second = emulator.requests()
    assert first.finished_at is not None
    assert second.finished_at is None
    # Sent in parts, though not in chunks: not every service takes those.
    assert second.headers["content-length"] == str(len(second.body))
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_held_back_by_a_request_that_waits_for_its_turn(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """It is written, and told, though the limiter lets the next request go in a minute only."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(60)])
    tap = start_tap(topics=[topic], max_requests_per_minute=1, state_interval_secs=600)
    tap.wait_for_records(50)
    assert len(emulator.requests()) == 1
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_held_back_by_a_pause_that_another_topic_brought(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """It is written, though the service has just asked all topics to wait for a minute."""
    refused, slow = emulator.create_topic("refused"), emulator.create_topic("slow")
    published = emulator.load(slow, [{"n": n} for n in range(60)])
    emulator.fault("status", topic_id=refused, status=429, headers={"Retry-After": "60"})
    emulator.fault("latency", topic_id=slow, secs=0.5)
    # Both requests are on their way before one is answered.
    emulator.configure(latency_secs=0.5)
    tap = start_tap(topics=[refused, slow], state_interval_secs=600)
    tap.wait_for_records(50)
    assert len(emulator.requests()) == 2
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_held_back_by_a_service_that_has_gone(
    answer_once: AnswerOnce, start_tap: StartTap
) -> None:
    """It is written before the next request is tried again."""
    server = answer_once("HTTP/1.1", HTTPServer.server_close)
    tap = start_tap(topics=[1], api_url=server, tail=True, state_interval_secs=3)
    tap.wait_for(lambda run: "retrying in" in run.stderr, "a retry")
    assert ids(tap.so_far) == ["A"]
    tap.wait_for_bookmark("topic_1", "A")


def test_a_page_is_not_held_back_by_a_connection_that_is_not_made(
    answer_once: AnswerOnce, start_tap: StartTap
) -> None:
    """Where the service ends each connection, it is written before there is a new one."""
    with contextlib.ExitStack() as waiting:

        def fill_queue(server: HTTPServer) -> None:
            # Nobody takes these, so those who come after them get no answer at all.
            address = ("127.0.0.1", server.server_port)
            with contextlib.suppress(TimeoutError):
                while True:
                    waiting.enter_context(socket.create_connection(address, timeout=0.2))

        server = answer_once("HTTP/1.0", fill_queue)
        tap = start_tap(topics=[1], api_url=server, tail=True, state_interval_secs=600)
        tap.wait_for_records(1)
        assert "retrying in" not in tap.stderr


def test_a_slow_reader_does_not_use_up_the_time_for_retries(
    emulator: Emulator, tap_config: TapConfig
) -> None:
    """An answer that was lost while a page could not be written is asked for again."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"text": "x" * 10_000} for _ in range(60)])
    emulator.fault("cut", after=1)
    config = tap_config(topics=[topic], max_retry_secs=1)
    process = start_with_pipe(config)
    eventually(lambda: len(emulator.requests()) == 2, "two requests")
    time.sleep(1.5)
    stdout, stderr = process.communicate()
    outcome = Outcome(process.returncode, stdout, stderr.decode())
    assert outcome.exit_code == 0, outcome.stderr
    assert outcome.stderr.count("retrying in") == 1
    assert ids(outcome) == published
    assert bookmark(outcome.states[-1], "topic_1") == published[-1]
