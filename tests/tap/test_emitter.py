"""One emitter: what one thread learns while it writes holds for those that wait for the lock."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from tap_workato_streams.event_streams.consume import Message
from tap_workato_streams.reading.bookmarks import Bookmark, Page
from tap_workato_streams.reading.clock import Interval, RunLimits
from tap_workato_streams.sync import Emitter

from tests.running import eventually

if TYPE_CHECKING:
    from collections.abc import Callable


class Stream:
    """A stream that writes into a list, and blocks in its first page until it is released."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.bookmark: Bookmark | None = None
        self.is_writing = threading.Event()
        self.release = threading.Event()
        self.failure: Exception | None = None
        self._lines = lines

    def write_page(self, page: Page) -> None:
        """Write, or fail with the failure once the stream is released."""
        if not self.is_writing.is_set():
            self.is_writing.set()
            self.release.wait(30)
            if self.failure:
                raise self.failure
        self._lines += [message.message_id for message in page.messages]
        self.bookmark = page.bookmark()


class Harness:
    """An emitter with two streams whose state is always due, and what came of it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[Exception] = []
        self.a, self.b = Stream("a", self.lines), Stream("b", self.lines)
        self.b.is_writing.set()
        self.emitter = Emitter(
            lambda: self.lines.append("STATE"), RunLimits(), Interval(0.0), self.errors.append
        )

    def hold(self, stream: Stream, message_id: str) -> None:
        """Hold a page of one message."""
        message = Message(message_id, cast("Any", b"{}"), "2024-01-01T00:00:00.000+00:00")
        self.emitter.hold(stream, Page([message]))

    def write(self, stream: Stream) -> None:
        """Write the page that is held, as the stream's worker does."""
        self.emitter.write_held(stream)

    def write_while_a_fails(self, stream: Stream, failure: Exception) -> None:
        """Let the first page of `a` fail in one thread while another waits to write."""
        self.hold(self.a, "a1")
        self.a.failure = failure
        first = _started(self.emitter.emit_state_if_due)
        assert self.a.is_writing.wait(30)
        self.hold(stream, f"{stream.name}2")
        second = _started(lambda: self.write(stream))
        self.a.release.set()
        for thread in (first, second):
            thread.join(30)
            assert not thread.is_alive()


def _started(target: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=target)
    thread.start()
    return thread


@pytest.fixture
def harness() -> Harness:
    """An emitter with two streams, whose state is always due."""
    return Harness()


def test_a_page_that_cannot_be_written_is_the_last_of_its_topic(harness: Harness) -> None:
    """Otherwise the bookmark would pass the missing records: the next page is already held."""
    failure = ValueError("a stream map fails")
    harness.write_while_a_fails(harness.a, failure)
    assert harness.errors == [failure]
    assert harness.a.bookmark is None
    assert set(harness.lines) == {"STATE"}
    harness.hold(harness.b, "b1")
    harness.write(harness.b)
    assert "b1" in harness.lines


def test_nothing_follows_a_truncated_line(harness: Harness) -> None:
    """Topics that wait for the lock find the emitter closed, and no state is emitted."""
    failure = OSError(errno.ENOSPC, "no space left")
    harness.write_while_a_fails(harness.b, failure)
    harness.emitter.close()
    assert harness.errors == [failure]
    assert harness.lines == []
    assert harness.b.bookmark is None


def test_the_state_is_the_last_line_and_covers_every_held_page(harness: Harness) -> None:
    """A page that comes later is left to the next run."""
    harness.a.release.set()
    harness.hold(harness.a, "a1")
    harness.hold(harness.b, "b1")
    harness.emitter.close()
    harness.hold(harness.a, "a2")
    harness.write(harness.a)
    assert harness.lines == ["a1", "b1", "STATE"]
    assert harness.a.bookmark == Bookmark("a1", "2024-01-01T00:00:00.000+00:00")


def test_the_main_thread_does_not_wait_for_a_blocked_worker(harness: Harness) -> None:
    """A loader that does not read delays neither intervals nor signals."""
    harness.hold(harness.a, "a1")
    worker = _started(lambda: harness.write(harness.a))
    assert harness.a.is_writing.wait(30)
    harness.emitter.emit_state_if_due()
    assert harness.lines == []
    harness.a.release.set()
    eventually(lambda: harness.lines == ["a1", "STATE"], "the page, and the state that was due")
    worker.join(30)
