"""Runs a sync: topics are consumed concurrently, and share the output and a state."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, Protocol

from .event_streams.errors import EventStreamsError, QuotaStoreError, ServiceError
from .event_streams.rate_limiter import TOO_MANY_REQUESTS
from .output.summary import Progress
from .output.writer import bytes_written, check_stdout, discard_stdout
from .plugin.wording import counted
from .reading.clock import Interval, RunLimits, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .reading.bookmarks import Bookmark, Page
    from .settings import RunSettings
    from .streams import TopicStream

# The maximum time that the main thread waits for a writing worker, which then emits the state.
LOCK_TIMEOUT_SECS = 0.1


class PageSink(Protocol):
    """The interface of a stream for the emitter."""

    def write_page(self, page: Page) -> None:
        """Write a page's messages and move the bookmark; raise OSError if stdout fails."""


class Emitter:
    """Holds one page per topic, and writes pages and STATE lines one at a time.

    The lock is held while a page is written and its bookmark is moved, and while the state is
    emitted, so a STATE line covers exactly the records before it. After a page that cannot be
    written, no more pages of its topic are written. Errors are passed to ``on_error`` instead of
    being raised, because the caller may be in the middle of a request.

    Args:
        write_state: Writes a STATE line if the state has changed since the last one.
        limits: The limits of the run.
        state_interval: The interval at which the state is emitted.
        on_error: Called with the error that ended a topic, or with the OSError of stdout, after
            which nothing more is written.
    """

    def __init__(
        self,
        write_state: Callable[[], None],
        limits: RunLimits,
        state_interval: Interval,
        on_error: Callable[[Exception], None],
    ) -> None:
        self._write_state = write_state
        self._limits = limits
        self._state_interval = state_interval
        self._on_error = on_error
        self._lock = threading.Lock()
        self._held: dict[PageSink, Page] = {}
        self._failed: set[PageSink] = set()
        self._closed = False

    def hold(self, stream: PageSink, page: Page) -> None:
        """Hold a page to be written next; the stream's previous page must have been written."""
        self._held[stream] = page

    def write_held(self, stream: PageSink) -> None:
        """Write the page that is held for a stream, if any, and emit the state if it is due."""
        if stream in self._held:
            with self._locked():
                self._write(stream)
                self._emit_state_if_due()

    def emit_state_if_due(self) -> None:
        """Emit the state if it is due; if a worker is writing, the worker emits it."""
        if not self._state_interval.left:
            with self._locked(LOCK_TIMEOUT_SECS) as is_locked:
                if is_locked:
                    self._emit_state_if_due()

    def close(self) -> None:
        """Write all held pages, emit the state, and accept no more pages."""
        with self._locked():
            self._write_all()
            self._closed = True

    def accepts(self, stream: PageSink) -> bool:
        """Return whether another page of the stream may be written."""
        return not self._closed and stream not in self._failed

    @contextmanager
    def _locked(self, timeout_secs: float = -1) -> Iterator[bool]:
        is_locked = self._lock.acquire(timeout=timeout_secs)
        try:
            yield is_locked
        except OSError as exc:
            # Closed while the lock is held, because nothing may follow a truncated line.
            self._closed = True
            self._on_error(exc)
        finally:
            if is_locked:
                self._lock.release()

    def _write(self, stream: PageSink) -> None:
        page = self._held.pop(stream, None)
        if page is None or not self.accepts(stream):
            return
        page = page._replace(messages=page.messages[: self._limits.take(len(page.messages))])
        try:
            stream.write_page(page)
        except OSError:
            raise
        except Exception as exc:  # noqa: BLE001 - the run ends with it
            self._failed.add(stream)
            self._on_error(exc)

    def _emit_state_if_due(self) -> None:
        if self._state_interval.is_over():
            self._write_all()

    def _write_all(self) -> None:
        # Some held pages may belong to topics whose next request has to wait.
        for stream in list(self._held):
            self._write(stream)
        if not self._closed:
            self._write_state()


logger = logging.getLogger("tap-workato-streams")


class _End(NamedTuple):
    stream: TopicStream
    error: Exception | None


class Sync:
    """Consumes topics in workers, each of which writes a page while it requests the next one.

    At most two pages per topic are in memory.

    Args:
        streams: The streams to sync.
        settings: The settings of the run.
        write_state: Writes a STATE line if the state has changed since the last one.
    """

    def __init__(
        self,
        streams: Sequence[TopicStream],
        settings: RunSettings,
        write_state: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._tail = settings.tail
        self._workers = len(streams)
        if not settings.tail:
            self._workers = min(settings.max_parallel_topics, len(streams))
        self._write_state = write_state
        self._limits = RunLimits(settings.max_messages, settings.max_run_secs)
        self._state_interval = Interval(settings.state_interval_secs)
        self._watchdog = Watchdog(bytes_written, settings.max_run_secs)
        self._ends: queue.SimpleQueue[_End | None] = queue.SimpleQueue()
        self._errors: list[Exception] = []
        self._output_error: OSError | None = None
        self._stopping = False
        self._emitter = Emitter(
            write_state, self._limits, self._state_interval, self._handle_write_error
        )

    def stop(self) -> None:
        """End the run after writing the pages that have been read; safe in a signal handler."""
        self._stopping = True
        self._ends.put(None)
        self._watchdog.expect_end()

    def run(self) -> None:
        """Sync the streams until they end, a limit is reached, one fails, or ``stop`` is called.

        Raises:
            EventStreamsError: A topic or stdout failed. Pages that were read before are written,
                and the state covers them.
        """
        topics = counted(len(self._streams), "topic")
        logger.info("reading %s, %d concurrently", topics, self._workers)
        started: list[TopicStream] = []
        self._watchdog.start()
        try:
            # The initial state is valid until there is a newer one.
            self._write_state()
            started = [stream for stream in self._streams if self._write_schema(stream)]
            # From here on, only the emitter may use the state, so the bookmarks are read first.
            progress = Progress([stream.summary for stream in started], tail=self._tail)
            waiting = deque((stream, stream.bookmark) for stream in started)
            with contextlib.closing(progress):
                self._start_workers(waiting)
                self._wait(len(started), progress)
            self._emitter.close()
            if self._output_error:
                raise self._output_error
        except OSError as exc:  # from stdout: only the workers use other files and sockets
            self._stopping = True
            discard_stdout()
            if not isinstance(exc, BrokenPipeError):
                raise EventStreamsError(
                    f"cannot write to stdout ({exc.strerror}); free some space and run again"
                ) from exc
            logger.info("stdout was closed by the loader; the run ends")
        finally:
            self._watchdog.stop()
        for stream in started:
            stream.log_summary()
        for error in self._errors[1:]:
            logger.error("%s", error)
        if self._errors:
            raise self._errors[0]

    def _write_schema(self, stream: TopicStream) -> bool:
        try:
            stream.write_schema()
        except EventStreamsError as exc:
            self._fail(exc)
            return False
        return True

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._limits.reached

    def _start_workers(self, waiting: deque[tuple[TopicStream, Bookmark | None]]) -> None:
        def consume_one_by_one() -> None:
            with contextlib.suppress(IndexError):  # none is waiting any more
                while not self._is_over:
                    self._consume(*waiting.popleft())

        for _ in range(self._workers):
            # Daemon threads, because a long poll must not delay the end of the process.
            threading.Thread(target=consume_one_by_one, daemon=True).start()

    def _consume(self, stream: TopicStream, bookmark: Bookmark | None) -> None:
        error = None
        try:
            pages = stream.consumer.pages(
                bookmark, tail=self._tail, while_waiting=lambda: self._write_held(stream)
            )
            for page in pages:
                self._write_held(stream)
                if self._is_over or not self._emitter.accepts(stream):
                    break
                self._emitter.hold(stream, page)
        except Exception as exc:  # noqa: BLE001 - passed to the main thread, which raises it
            error = exc
        finally:
            stream.consumer.client.close()
        self._write_held(stream)
        self._ends.put(_End(stream, error))

    def _write_held(self, stream: TopicStream) -> None:
        self._emitter.write_held(stream)
        if self._limits.reached:
            self._ends.put(None)

    def _wait(self, open_topics: int, progress: Progress) -> None:
        """Wait until all topics or the run ends, and emit the state when it is due."""
        while open_topics and not self._is_over:
            waits = [self._state_interval.left, progress.interval.left, self._limits.secs_left]
            end = self._next_end(min(wait for wait in waits if wait is not None))
            if end:
                open_topics -= 1
                end.stream.summary.end()
                if end.error:
                    self._fail(end.error)
            self._emitter.emit_state_if_due()
            progress.report_if_due()
        self._stopping = True

    def _next_end(self, timeout_secs: float) -> _End | None:
        try:
            return self._ends.get(timeout=timeout_secs)
        except queue.Empty:
            check_stdout()
            return None

    def _handle_write_error(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._output_error = error
            self.stop()
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._errors.append(error)
        # In tail mode, the other topics would never end, and without quota, all of them would wait
        # as long as retries may take. The run therefore ends with the first failure.
        if self._tail or _is_quota(error):
            self.stop()


def _is_quota(error: Exception) -> bool:
    rate_limited = isinstance(error, ServiceError) and error.status == TOO_MANY_REQUESTS
    return rate_limited or isinstance(error, QuotaStoreError)
