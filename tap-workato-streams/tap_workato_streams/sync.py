"""Syncing many topics at once: readers side by side, one writer, one state."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .errors import EventStreamsError, ServiceError
from .pacing import TOO_MANY_REQUESTS
from .reader import RunStart
from .summary import Progress, TopicSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .limits import RunLimits
    from .pages import Page
    from .streams import TopicStream
    from .writer import PageWriter

logger = logging.getLogger("tap-workato-streams")


class _Event(NamedTuple):
    """What a reader hands to the writer: a page, an error, or with neither the end of a topic."""

    stream: TopicStream
    page: Page | None = None
    error: Exception | None = None


class Sync:
    """Reads topics in threads, and writes all that they bring in the calling thread.

    While a page is written the next one is asked for, and no topic has more than these two pages
    in memory. The state is changed and told by the writer alone: a STATE line covers just the
    records that stand before it.

    Args:
        streams: The streams to sync.
        writer: Writes the lines.
        tell_state: Writes a STATE line if the state has changed since the last.
        limits: When to end, whether the topics have ended or not.
        readers: How many topics to read side by side.
        tail: Whether to go on when the end of a topic is reached.
        state_interval_secs: How long a changed state may go untold, in seconds.
    """

    def __init__(  # noqa: PLR0913
        self,
        streams: Sequence[TopicStream],
        writer: PageWriter,
        tell_state: Callable[[], None],
        *,
        limits: RunLimits,
        readers: int,
        tail: bool,
        state_interval_secs: float,
    ) -> None:
        self._streams = streams
        self._writer = writer
        self._tell_state = tell_state
        self._limits = limits
        self._readers = min(readers, len(streams))
        self._tail = tail
        self._state_interval_secs = state_interval_secs
        self._state_told_at = time.monotonic()
        self._run_start = RunStart()
        self._events: queue.SimpleQueue[_Event | None] = queue.SimpleQueue()
        self._slots = {stream.name: threading.Semaphore(1) for stream in streams}
        self._summaries: dict[str, TopicSummary] = {}
        self._errors: list[Exception] = []
        self._unwritable: set[str] = set()
        self._stopping = False

    def stop(self) -> None:
        """End the run soon, with what has been read written and told; safe in a signal handler."""
        self._stopping = True
        self._events.put(None)

    def run(self) -> None:
        """Sync the streams to their end, a limit, a failure or ``stop``.

        Raises:
            EventStreamsError: A topic failed for good: what was read is written, and told, before.
                Or standard output, as of a full disk.
        """
        logger.info("reading %d topics, %d side by side", len(self._streams), self._readers)
        try:
            # The state that was given holds until there is a newer one.
            self._tell_state()
            for stream in self._streams:
                stream.write_schema()
                self._summaries[stream.name] = TopicSummary(stream)
            self._start_readers()
            self._write_events()
            self._write_held_pages()
            self._tell_state()
        except OSError as exc:  # of standard output: files and sockets are the readers'
            # What is still buffered goes nowhere: the flush at exit must not fail over it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(exc, BrokenPipeError):
                raise EventStreamsError(
                    f"standard output takes nothing more ({exc.strerror}); make room, and run again"
                ) from exc
            logger.debug("the reader of standard output has gone")
        for summary in self._summaries.values():
            summary.log()
        for error in self._errors[1:]:
            logger.error("%s", error)
        if self._errors:
            raise self._errors[0]

    def _start_readers(self) -> None:
        waiting = deque(self._streams)

        def read_one_by_one() -> None:
            with contextlib.suppress(IndexError):  # none is waiting any more
                while True:
                    self._read(waiting.popleft())

        for _ in range(self._readers):
            # Daemons: a long poll that is under way must not hold up the end of the process.
            threading.Thread(target=read_one_by_one, daemon=True).start()

    def _read(self, stream: TopicStream) -> None:
        error = None
        try:
            for page in stream.reader(self._run_start, tail=self._tail).pages():
                self._slots[stream.name].acquire()
                if stream.name in self._unwritable:
                    break
                self._events.put(_Event(stream, page))
        except Exception as exc:  # noqa: BLE001 - handed to the writer, which ends the run with it
            error = exc
        self._events.put(_Event(stream, error=error))

    def _write_events(self) -> None:
        progress = Progress(self._summaries)
        open_topics = len(self._streams)
        while open_topics and not self._stopping and not self._limits.reached:
            event = self._next_event()
            if event and event.page:
                self._write(event.stream, event.page)
                self._slots[event.stream.name].release()
            elif event:
                open_topics -= 1
                self._summaries[event.stream.name].end()
                if event.error:
                    self._fail(event.error)
            self._tell_state_if_due()
            progress.log_if_due()

    def _next_event(self) -> _Event | None:
        """Wait for an event, though not longer than something else may be due."""
        waits = [self._state_interval_secs, Progress.INTERVAL_SECS, self._limits.secs_left]
        try:
            return self._events.get(timeout=min(wait for wait in waits if wait is not None))
        except queue.Empty:
            self._writer.check_reader()
            return None

    def _write_held_pages(self) -> None:
        """Write what the readers have handed over; as no slot is released, that comes to an end."""
        while self._stopping:
            try:
                event = self._events.get_nowait()
            except queue.Empty:
                return
            if event and event.page:
                self._write(event.stream, event.page)

    def _write(self, stream: TopicStream, page: Page) -> None:
        taken = page._replace(messages=page.messages[: self._limits.take(len(page.messages))])
        try:
            stream.write_messages(taken.messages, self._writer)
        except EventStreamsError as exc:
            self._unwritable.add(stream.name)
            self._fail(exc)
            return
        if bookmark := taken.bookmark():
            stream.bookmark = bookmark
        self._summaries[stream.name].add(taken)

    def _fail(self, error: Exception) -> None:
        self._errors.append(error)
        # The others would go on for ever in a tail, and wait as long where the workspace's quota
        # is used up for longer than may be retried: such a run ends with the first that fails.
        if self._tail or _is_quota(error):
            self._stopping = True

    def _tell_state_if_due(self) -> None:
        now = time.monotonic()
        if now - self._state_told_at >= self._state_interval_secs:
            self._tell_state()
            self._state_told_at = now


def _is_quota(error: Exception) -> bool:
    return isinstance(error, ServiceError) and error.status == TOO_MANY_REQUESTS
