"""One writer: readers write their own pages, one at a time, and the state is told in between."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..limits import Interval, RunLimits
    from ..reading.pages import Page
    from ..streams import TopicStream
    from .summary import TopicSummary
    from .writer import PageWriter

# How long whoever has nothing to write waits for those who have, in seconds.
PATIENCE_SECS = 0.1


class Emitter:
    """Where the readers of all topics hold and write their pages.

    Whoever has the lock writes a whole page and moves its bookmark, or tells the state: a STATE
    line covers just the records that stand before it. A page that cannot be written is the last
    of its topic. Nothing here raises what goes wrong with it, since a request is under way.

    Args:
        writer: Writes the lines.
        write_state: Writes a STATE line if the state has changed since the last.
        limits: How many messages may be written.
        interval: How often the state is told.
        summaries: The summary of each stream, by its name.
        on_error: Called with what stopped a topic, or with the OSError of standard output, after
            which nothing more is written.
    """

    def __init__(  # noqa: PLR0913
        self,
        writer: PageWriter,
        write_state: Callable[[], None],
        limits: RunLimits,
        *,
        interval: Interval,
        summaries: Mapping[str, TopicSummary],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._writer = writer
        self._write_state = write_state
        self._limits = limits
        self._interval = interval
        self._summaries = summaries
        self._on_error = on_error
        self._lock = threading.Lock()
        self._held: dict[TopicStream, Page] = {}
        self._failed: set[TopicStream] = set()
        self._closed = False

    def hold(self, stream: TopicStream, page: Page) -> None:
        """Take the page that is to be written next; the one before it must have been."""
        self._held[stream] = page

    def write_held(self, stream: TopicStream) -> None:
        """Write the page that is held for a stream, if there is one, and the state if it is due."""
        if stream in self._held:
            with self._turn():
                self._write(stream)
                self._write_state_if_due()

    def write_state_if_due(self) -> None:
        """Tell the state if it is due, unless others write all the time: then they do."""
        if not self._interval.left:
            with self._turn(PATIENCE_SECS) as has_turn:
                if has_turn:
                    self._write_state_if_due()

    def close(self) -> None:
        """Write all that is held, tell the state, and let nothing be written after it."""
        with self._turn():
            self._write_all()
            self._closed = True

    def takes(self, stream: TopicStream) -> bool:
        """Whether another page of the stream may be written."""
        return not self._closed and stream not in self._failed

    @contextmanager
    def _turn(self, secs: float = -1) -> Iterator[bool]:
        has_turn = self._lock.acquire(timeout=secs)
        try:
            yield has_turn
        except OSError as exc:
            # Before the next one has the lock: nothing may follow a line that was cut.
            self._closed = True
            self._on_error(exc)
        finally:
            if has_turn:
                self._lock.release()

    def _write(self, stream: TopicStream) -> None:
        page = self._held.pop(stream, None)
        if page is None or not self.takes(stream):
            return
        page = page._replace(messages=page.messages[: self._limits.take(len(page.messages))])
        try:
            stream.write_messages(page.messages, self._writer)
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001 - the run ends with it
            self._failed.add(stream)
            self._on_error(exc)
            return
        if bookmark := page.bookmark():
            stream.bookmark = bookmark
        self._summaries[stream.name].add(page)

    def _write_state_if_due(self) -> None:
        if self._interval.is_over():
            self._write_all()

    def _write_all(self) -> None:
        # What is still held may belong to a request that cannot be sent yet.
        for stream in list(self._held):
            self._write(stream)
        if not self._closed:
            self._write_state()
