"""One writer: what one thread finds out while it writes holds for those that wait behind it."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from tap_workato_streams.limits import Interval, RunLimits
from tap_workato_streams.output.emitter import Emitter
from tap_workato_streams.reading.pages import Bookmark, Message, Page

from tests.running import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stream:
    """A stream that writes into a list, and waits with its first page until it is told."""

    def __init__(self, name: str, lines: list[str]) -> None:
        self.name = name
        self.bookmark: Bookmark | None = None
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.failure: Exception | None = None
        self._lines = lines

    def write_messages(self, messages: Sequence[Message], _writer: object) -> None:
        """Write, or fail with the failure once that is due."""
        if not self.begun.is_set():
            self.begun.set()
            self.go_on.wait(30)
            if self.failure:
                raise self.failure
        self._lines += [message.message_id for message in messages]


class Pages:
    """An output, what was written to it, and what went wrong."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.errors: list[Exception] = []
        self.a, self.b = Stream("a", self.lines), Stream("b", self.lines)
        self.b.begun.set()
        summary = cast("Any", type("Summary", (), {"add": lambda *_: None})())
        self.output = Emitter(
            cast("Any", None),
            lambda: self.lines.append("STATE"),
            RunLimits(),
            interval=Interval(0.0),
            summaries={"a": summary, "b": summary},
            on_error=self.errors.append,
        )

    def hold(self, stream: Stream, message_id: str) -> None:
        """Hold a page of one message."""
        message = Message(message_id, cast("Any", b"{}"), "2024-01-01T00:00:00.000+00:00")
        self.output.hold(cast("Any", stream), Page([message]))

    def write(self, stream: Stream) -> None:
        """Write what is held, as the reader of the stream does."""
        self.output.write_held(cast("Any", stream))

    def write_behind_one_that_fails(self, stream: Stream, failure: Exception) -> None:
        """Let the first page of `a`, which another thread writes, fail while a write waits."""
        self.hold(self.a, "a1")
        self.a.failure = failure
        first = threading.Thread(target=self.output.write_state_if_due)
        first.start()
        assert self.a.begun.wait(30)
        self.hold(stream, f"{stream.name}2")
        second = threading.Thread(target=self.write, args=[stream])
        second.start()
        self.a.go_on.set()
        for thread in (first, second):
            thread.join(30)
            assert not thread.is_alive()


@pytest.fixture
def pages() -> Pages:
    """An output with two streams, whose state is due all the time."""
    return Pages()


def test_a_page_that_cannot_be_written_is_the_last_of_its_topic_whoever_writes_it(
    pages: Pages,
) -> None:
    """Else the bookmark would pass over what was not written: the next page was held already."""
    failure = ValueError("a stream map fails")
    pages.write_behind_one_that_fails(pages.a, failure)
    assert pages.errors == [failure]
    assert pages.a.bookmark is None
    assert set(pages.lines) == {"STATE"}
    pages.hold(pages.b, "b1")
    pages.write(pages.b)
    assert "b1" in pages.lines


def test_nothing_follows_a_line_that_was_cut(pages: Pages) -> None:
    """The topics that wait for their turn find standard output closed; no state is told."""
    failure = OSError(errno.ENOSPC, "no space left")
    pages.write_behind_one_that_fails(pages.b, failure)
    pages.output.close()
    assert pages.errors == [failure]
    assert pages.lines == []
    assert pages.b.bookmark is None


def test_the_state_is_the_last_line_and_covers_all_that_was_held(pages: Pages) -> None:
    """A page that comes after the end is left for the next run."""
    pages.a.go_on.set()
    pages.hold(pages.a, "a1")
    pages.hold(pages.b, "b1")
    pages.output.close()
    pages.hold(pages.a, "a2")
    pages.write(pages.a)
    assert pages.lines == ["a1", "b1", "STATE"]
    assert pages.a.bookmark == Bookmark("a1", "2024-01-01T00:00:00.000+00:00")


def test_who_has_nothing_to_write_waits_for_no_writer(pages: Pages) -> None:
    """A reader of standard output that is stuck holds up neither the clock nor a signal."""
    pages.hold(pages.a, "a1")
    writer = threading.Thread(target=pages.write, args=[pages.a])
    writer.start()
    assert pages.a.begun.wait(30)
    pages.output.write_state_if_due()
    assert pages.lines == []
    pages.a.go_on.set()
    eventually(lambda: pages.lines == ["a1", "STATE"], "the page, and the state that was due")
    writer.join(30)
