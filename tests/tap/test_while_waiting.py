"""A page is written while the service works on the next one; waits do not delay it."""

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

    from workato_streams_emulator import Emulator

    from tests.tap.conftest import StartTap, TapConfig

# So long that the connection is closed before the page is split and the next one requested.
PAYLOAD = b'"%b"' % (b"x" * 10_000_000)
PAGE = (
    b'{"messages":[{"message_id":"A","payload":%b,"time":"2024-01-01T00:00:00.000+00:00"}]}'
    % PAYLOAD
)


class RespondOnce(Protocol):
    """Starts a service that responds once and then closes the connection."""

    def __call__(self, version: str, before: Callable[[HTTPServer], None]) -> str:
        """Return its URL; ``before`` is called just before it responds."""


@pytest.fixture
def respond_once() -> Iterator[RespondOnce]:
    """A service that responds with one page only."""
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


def test_a_page_is_written_while_the_next_one_is_requested(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """The page is written after the next request has been sent, and before its response."""
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


def test_a_page_is_not_delayed_by_the_rate_limiter(emulator: Emulator, start_tap: StartTap) -> None:
    """It is written and covered by a state although the next request waits for a minute."""
    topic = emulator.create_topic()
    published = emulator.load(topic, [{"n": n} for n in range(60)])
    tap = start_tap(topics=[topic], max_requests_per_minute=1, state_interval_secs=600)
    tap.wait_for_records(50)
    assert len(emulator.requests()) == 1
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_delayed_by_another_topics_pause(
    emulator: Emulator, start_tap: StartTap
) -> None:
    """It is written although the service has just asked all topics to wait for a minute."""
    limited, slow = emulator.create_topic("limited"), emulator.create_topic("slow")
    published = emulator.load(slow, [{"n": n} for n in range(60)])
    emulator.fault("status", topic_id=limited, status=429, headers={"Retry-After": "60"})
    emulator.fault("latency", topic_id=slow, secs=0.5)
    # Both requests are in flight before the first response.
    emulator.configure(latency_secs=1.5)
    tap = start_tap(topics=[limited, slow], state_interval_secs=600)
    tap.wait_for_records(50)
    assert len(emulator.requests()) == 2
    assert ids(tap.so_far) == published[:50]


def test_a_page_is_not_delayed_by_an_outage(respond_once: RespondOnce, start_tap: StartTap) -> None:
    """It is written before the next request is retried."""
    server = respond_once("HTTP/1.1", HTTPServer.server_close)
    tap = start_tap(topics=[1], api_url=server, tail=True, state_interval_secs=3)
    tap.wait_for(lambda run: "retrying in" in run.stderr, "a retry")
    assert ids(tap.so_far) == ["A"]
    tap.wait_for_bookmark("topic_1", "A")


def test_a_page_is_not_delayed_by_a_new_connection(
    respond_once: RespondOnce, start_tap: StartTap
) -> None:
    """If the service closes each connection, it is written before there is a new one."""
    with contextlib.ExitStack() as waiting:

        def fill_queue(server: HTTPServer) -> None:
            # Nobody accepts these, so later ones get no response at all.
            address = ("127.0.0.1", server.server_port)
            with contextlib.suppress(TimeoutError):
                while True:
                    waiting.enter_context(socket.create_connection(address, timeout=0.2))

        server = respond_once("HTTP/1.0", fill_queue)
        tap = start_tap(topics=[1], api_url=server, tail=True, state_interval_secs=600)
        tap.wait_for_records(1)
        assert "retrying in" not in tap.stderr


def test_a_slow_loader_does_not_use_up_the_time_for_retries(
    emulator: Emulator, tap_config: TapConfig
) -> None:
    """A response lost while a page could not be written is requested again."""
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
