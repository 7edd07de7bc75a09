"""Runs a sync: topics are consumed concurrently, and share the output and a state."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .event_streams import logger
from .event_streams.errors import EventStreamsError, QuotaStoreError, ServiceError
from .output.summary import Progress
from .output.writer import bytes_written, check_stdout, discard_stdout
from .plugin.wording import counted, duration
from .reading.clock import Interval, RunLimits, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .event_streams.rate_limiter import RateLimiter
    from .reading.bookmarks import Bookmark, Page
    from .settings import RunSettings
    from .streams import TopicStream


# The time after which a topic that has failed is tried again in tail mode.
FAILED_TOPIC_SECS = 600.0


class _End(NamedTuple):
    stream: TopicStream
    error: Exception | None


class Sync:
    """Consumes topics in workers, each of which writes a page before it requests the next one.

    The lock is held while a page is written and its bookmark is moved, and while the state is
    emitted, so a STATE line covers exactly the records before it.
    """

    def __init__(
        self,
        streams: Sequence[TopicStream],
        settings: RunSettings,
        write_state: Callable[[], None],
        limiter: RateLimiter,
    ) -> None:
        self._streams = streams
        self._tail = settings.tail
        self._workers = len(streams)
        if not settings.tail:
            self._workers = min(settings.max_parallel_topics, len(streams))
        self._write_state = write_state  # Writes a STATE line if the state has changed.
        self._limiter = limiter
        self._limits = RunLimits(settings.max_messages, settings.max_run_secs)
        self._state_interval = Interval(settings.state_interval_secs)
        self._watchdog = Watchdog(bytes_written, settings.max_run_secs)
        self._ends: queue.SimpleQueue[_End | None] = queue.SimpleQueue()
        self._errors: dict[TopicStream, Exception] = {}
        self._output_error: OSError | None = None
        self._stopping = False
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End the run after the page that is being written; safe in a signal handler."""
        self._stopping = True
        self._ends.put(None)
        self._watchdog.expect_end()

    def run(self) -> None:
        """Sync the streams until they end, a limit is reached, or ``stop`` is called.

        In tail mode, a topic that fails is tried again from time to time. The run ends if all of
        them fail, or if one fails for a reason that applies to all. An error is raised after the
        pages that were read have been written, and the state that covers them.
        """
        topics = counted(len(self._streams), "topic")
        logger.info("reading %s, %d concurrently", topics, self._workers)
        started: list[TopicStream] = []
        self._watchdog.start()
        try:
            # The initial state is valid until there is a newer one.
            self._write_state()
            started = [each for each in self._streams if self._write_schema(each)]
            # From here on, the state is only used with the lock.
            progress = Progress([stream.summary for stream in started], tail=self._tail)
            waiting = deque((stream, stream.bookmark) for stream in started)
            with contextlib.closing(progress):
                for _ in range(self._workers):
                    # Daemon threads, because a long poll must not delay the end of the process.
                    threading.Thread(target=self._work, args=(waiting,), daemon=True).start()
                self._wait(len(started), progress)
            with self._lock:
                if self._output_error:
                    raise self._output_error
                self._write_state()
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
            # Workers that are still waiting would log retries after the last line of the run.
            self._limiter.stop()
        for stream in started:
            stream.log_summary()
        first, *others = self._errors.values() or [None]
        for error in others:
            logger.error("%s", error)
        if first:
            raise first

    def _write_schema(self, stream: TopicStream) -> bool:
        """Write the SCHEMA of a stream; return whether it can be read."""
        if self._stopping:
            return False
        try:
            stream.write_schema()
        except EventStreamsError as exc:
            self._fail(stream, exc, "")
            return False
        return True

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._limits.reached

    def _work(self, waiting: deque[tuple[TopicStream, Bookmark | None]]) -> None:
        with contextlib.suppress(IndexError):  # none is waiting any more
            while not self._is_over:
                self._consume(*waiting.popleft())

    def _consume(self, stream: TopicStream, bookmark: Bookmark | None) -> None:
        while True:
            error = self._read(stream, bookmark)
            self._ends.put(_End(stream, error))
            if not (error and self._tail):
                return
            time.sleep(FAILED_TOPIC_SECS)
            with self._lock:
                bookmark = stream.bookmark

    def _read(self, stream: TopicStream, bookmark: Bookmark | None) -> Exception | None:
        """Read a topic to its end, or until the run ends; return the error that ended it."""
        try:
            for page in stream.consumer.pages(bookmark, tail=self._tail):
                if not self._write(stream, page):
                    break
                del page  # A large page must not be in memory together with the next one.
        except Exception as exc:  # noqa: BLE001 - passed to the main thread, which raises it
            return exc
        finally:
            stream.consumer.client.session.close()
        return None

    def _write(self, stream: TopicStream, page: Page) -> bool:
        """Write a page, and the state if it is due; return whether the run continues."""
        with self._lock:
            if self._is_over:
                return False
            self._errors.pop(stream, None)
            with self._output_errors():
                stream.write_page(page.first(self._limits.take(len(page.messages))))
                self._emit_state_if_due()
            return not self._is_over

    def _emit_state_if_due(self) -> None:
        if not self._state_interval.left and not self._output_error:
            self._state_interval.restart()
            self._write_state()

    @contextlib.contextmanager
    def _output_errors(self) -> Iterator[None]:
        """End the run while the lock is held, because nothing may follow a truncated line."""
        try:
            yield
        except OSError as exc:
            self._output_error = exc
            self.stop()

    def _wait(self, open_topics: int, progress: Progress) -> None:
        """Wait until all topics or the run ends, and emit the state when it is due."""
        while open_topics and not self._is_over:
            waits = [self._state_interval.left, progress.interval.left, self._limits.secs_left]
            end = self._next_end(min(wait for wait in waits if wait is not None))
            if end and end.error:
                retry = f", and this one is tried again in {duration(FAILED_TOPIC_SECS)}"
                self._fail(end.stream, end.error, retry)
            if end and not (end.error and self._tail):
                open_topics -= 1
                end.stream.summary.end()
            # A worker that is writing, or that stdout blocks, emits the state itself.
            if not self._state_interval.left and self._lock.acquire(timeout=0.1):
                try:
                    with self._output_errors():
                        self._emit_state_if_due()
                finally:
                    self._lock.release()
            progress.report_if_due()
        self._stopping = True

    def _next_end(self, timeout_secs: float) -> _End | None:
        try:
            return self._ends.get(timeout=timeout_secs)
        except queue.Empty:
            check_stdout()
            return None

    def _fail(self, stream: TopicStream, error: Exception, retry: str) -> None:
        self._errors[stream] = error
        if not self._tail:
            # Without quota, all topics would wait as long as retries may take.
            if _is_quota(error):
                self.stop()
        elif _fails_everywhere(error) or len(self._errors) == len(self._streams):
            self.stop()
        else:
            logger.error("%s; the other topics go on%s", error, retry)


def _is_quota(error: Exception) -> bool:
    rate_limited = isinstance(error, ServiceError) and error.status == 429
    return rate_limited or isinstance(error, QuotaStoreError)


def _fails_everywhere(error: Exception) -> bool:
    """Whether an error is about the token, the quota or the tap itself, not about a topic."""
    is_token = isinstance(error, ServiceError) and error.status == 401
    return is_token or _is_quota(error) or not isinstance(error, EventStreamsError)
