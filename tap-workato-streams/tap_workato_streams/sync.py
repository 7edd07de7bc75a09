"""Runs a sync: topics are consumed concurrently, and share the output and a state."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from .event_streams import logger
from .event_streams.errors import EventStreamsError, QuotaStoreError, ServiceError, Unavailable
from .event_streams.rate_limiter import RateLimiter
from .output.summary import Progress
from .output.writer import bytes_written, check_stdout, discard_stdout
from .plugin.monitoring import Interval
from .plugin.wording import counted, duration
from .reading.bookmarks import Page
from .reading.clock import RunLimits, Watchdog
from .settings import RunSettings
from .streams import TopicStream, longest_waiting_first, mark_read

# The time after which a topic that has failed is tried again in tail mode: one that was
# unavailable, and one that rejects requests or cannot be written.
UNAVAILABLE_TOPIC_SECS = 60.0
FAILED_TOPIC_SECS = 600.0
# When a limit ends a run, a request may be about to fail: it is given this time.
LAST_RESPONSE_SECS = 1.0
# The longest time between a change of the state and the STATE message that reports it.
STATE_INTERVAL_SECS = 5.0


class _End(NamedTuple):
    stream: TopicStream
    error: Exception | None
    is_repeated: bool  # The topic has failed before, and has not been read since.


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
        parallel = len(streams) if settings.tail else settings.max_parallel_topics
        self._workers = min(parallel, len(streams))
        self._write_state = write_state  # Writes a STATE line if the state has changed.
        self._limiter = limiter
        self._max_retry_secs = settings.max_retry_secs
        self._limits = RunLimits(settings.max_messages, settings.max_run_secs)
        self._state_interval = Interval(STATE_INTERVAL_SECS)
        self._watchdog = Watchdog(bytes_written, settings.max_run_secs)
        self._ends: queue.SimpleQueue[_End | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._reached: set[TopicStream] = set()
        self._errors: dict[TopicStream, Exception] = {}  # The newest one is the last.
        self._final_error: Exception | None = None  # The one that ended the run.
        self._output_error: OSError | None = None
        self._stopping = False
        self._lock = threading.Lock()
        self._page_written = threading.Condition(self._lock)

    def stop(self, *, is_signaled: bool = False) -> None:
        """End the run after the page that is being written; safe in a signal handler."""
        self._stopping = True
        self._ends.put(None)
        self._watchdog.expect_end(is_signaled=is_signaled)

    def run(self) -> None:
        """Sync the streams until they end, a limit is reached, or ``stop`` is called.

        In tail mode, a topic that fails is tried again from time to time. The run ends if all of
        them fail, or if one fails for a reason that applies to all. An error is raised after the
        pages that were read have been written, and the state that covers them.
        """
        self._watchdog.start()
        try:
            topics = counted(len(self._streams), "topic")
            logger.info("reading %s, %d concurrently", topics, self._workers)
            self._read_topics()
            errors = [each for each in self._errors.values() if each is not self._final_error]
            last = self._final_error or (errors.pop() if errors else None)
            for error in errors:
                logger.error("%s", error)
        finally:
            # Only now, because a log that nobody reads blocks, too.
            self._watchdog.stop()
        if last:
            raise last

    def _read_topics(self) -> None:
        started: list[TopicStream] = []
        try:
            # The initial state is valid until there is a newer one.
            self._write_state()
            started = [each for each in self._streams if self._write_schema(each)]
            # From here on, the state is only changed with the lock; it has an entry per stream.
            summaries = [stream.summary for stream in started]
            progress = Progress(summaries, self._limiter, tail=self._tail)
            with contextlib.closing(progress):
                self._start_workers(deque(longest_waiting_first(started)))
                self._supervise(len(started), progress)
                self._stopping = True
            if self._limits.reached and not self._tail:
                time_left = Interval(LAST_RESPONSE_SECS)
                for thread in self._threads:
                    thread.join(time_left.left)
            with self._lock:
                if self._output_error:
                    raise self._output_error
                self._add_late_errors(started)
                if self._limits.are_set:
                    # A topic that has failed must not be the first again.
                    mark_read(self._reached | self._errors.keys())
                self._write_state()
        except OSError as exc:  # from stdout: only the workers use other files and sockets
            self._stopping = True
            discard_stdout()
            if not isinstance(exc, BrokenPipeError):
                line = f"cannot write to stdout ({exc.strerror}); free some space and run again"
                raise EventStreamsError(line) from exc
            logger.info("stdout was closed by the loader; the run ends")
        finally:
            # Workers that are still waiting would log retries after the last line of the run.
            self._limiter.stop()
        for stream in started:
            stream.log_summary()
        if missed := set(started) - self._reached - self._errors.keys():
            plan = ", with which the next run begins" if self._limits.are_set else ""
            logger.info("not reached: %s%s", counted(len(missed), "topic"), plan)

    def _write_schema(self, stream: TopicStream) -> bool:
        """Write the SCHEMA of a stream; return whether it can be read."""
        if self._stopping:
            return False
        try:
            stream.write_schema()
        except EventStreamsError as exc:
            self._fail(stream, exc, "the other topics go on")
            return False
        return True

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._limits.reached

    def _start_workers(self, waiting: deque[TopicStream]) -> None:
        try:
            for _ in range(self._workers):
                # Daemon threads, because a long poll must not delay the end of the process.
                thread = threading.Thread(target=self._work, args=(waiting,), daemon=True)
                thread.start()
                self._threads.append(thread)
        except RuntimeError as exc:
            line = f"{exc}; allow the process more threads, or read fewer topics concurrently"
            self._final_error = EventStreamsError(line)
            self.stop()

    def _work(self, waiting: deque[TopicStream]) -> None:
        while not self._is_over:
            try:
                stream = waiting.popleft()
            except IndexError:
                return
            while (end := self._read_topic(stream)).error and self._tail:
                self._wait_for_retry(end)

    def _read_topic(self, stream: TopicStream) -> _End:
        """Read a topic until it or the run ends, or an error occurs."""
        error = None
        try:
            for page in stream.consumer.pages(stream.bookmark, tail=self._tail):
                if not self._write(stream, page):
                    break
                del page  # A large page must not be in memory together with the next one.
        except Exception as exc:  # noqa: BLE001 - passed to the main thread, which raises it
            error = exc
        finally:
            stream.consumer.client.session.close()
        end = _End(stream, error, is_repeated=stream in self._errors)
        self._ends.put(end)
        return end

    def _wait_for_retry(self, end: _End) -> None:
        if isinstance(end.error, Unavailable) and not end.is_repeated:
            with self._page_written:
                # A page of another topic shows that the service responds again.
                self._page_written.wait(UNAVAILABLE_TOPIC_SECS)
        else:
            time.sleep(_retry_secs(end.error))

    def _write(self, stream: TopicStream, page: Page) -> bool:
        """Write a page, and the state if it is due; return whether the run continues."""
        with self._lock:
            if self._is_over:
                return False
            self._errors.pop(stream, None)
            self._reached.add(stream)
            try:
                with self._output_errors():
                    stream.write_page(page.first(self._limits.admit(len(page.messages))))
                    self._emit_state_if_due()
            except Exception as exc:
                self._errors[stream] = exc  # The run may end before it is handled.
                raise
            self._page_written.notify_all()
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

    def _supervise(self, open_topics: int, progress: Progress) -> None:
        """Handle errors, and emit states and report progress, until all topics or the run ends."""
        while open_topics and not self._is_over:
            waits = [self._state_interval.left, progress.interval.left, self._limits.secs_left]
            end = self._next_end(min(wait for wait in waits if wait is not None))
            if end and end.error:
                secs = duration(_retry_secs(end.error))
                self._fail(end.stream, end.error, f"the topic is tried again within {secs}")
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

    def _next_end(self, timeout_secs: float) -> _End | None:
        try:
            return self._ends.get(timeout=timeout_secs)
        except queue.Empty:
            check_stdout()
            return None

    def _fail(self, stream: TopicStream, error: Exception, next_step: str) -> None:
        """Record an error of a topic, which may end the run; ``next_step`` is what happens else."""
        was_unavailable = isinstance(self._errors.pop(stream, None), Unavailable)
        self._errors[stream] = error
        if self._ends_run(error):
            self._final_error = error
            self.stop()
        elif self._tail:
            # An outage has one error per topic; what follows is about its retries.
            level = logging.WARNING if was_unavailable else logging.ERROR
            logger.log(level, "%s; %s", error, next_step)

    def _ends_run(self, error: Exception) -> bool:
        # Without quota, all topics would wait as long as retries may take.
        if _is_quota(error):
            return True
        if not self._tail:
            return False
        # An error is about the token or the tap itself, not about a topic.
        is_token = isinstance(error, ServiceError) and error.status == 401
        if is_token or not isinstance(error, EventStreamsError):
            return True
        if len(self._errors) < len(self._streams):
            return False
        # A service that has responded a moment ago is given the time of a retry.
        is_down = self._limiter.secs_without_success() >= self._max_retry_secs
        return is_down or not any(isinstance(e, Unavailable) for e in [*self._errors.values()])

    def _add_late_errors(self, started: Sequence[TopicStream]) -> None:
        """Record what has failed but was not handled when the run ended."""
        while not self._ends.empty():
            if (end := self._ends.get()) and end.error:
                self._errors[end.stream] = end.error
        cause = "a limit" if self._limits.reached else "a signal"
        for stream in () if self._final_error else started:
            error = stream.consumer.client.failure
            # After a page, a 429 only says that the quota is used.
            is_failure = error and not (self._reached and _is_quota(error))
            if is_failure and stream not in self._errors:
                line = f"{error}; {cause} ended the run before a retry succeeded"
                self._errors[stream] = EventStreamsError(line)


def _retry_secs(error: Exception | None) -> float:
    return UNAVAILABLE_TOPIC_SECS if isinstance(error, Unavailable) else FAILED_TOPIC_SECS


def _is_quota(error: Exception) -> bool:
    rate_limited = isinstance(error, ServiceError) and error.status == 429
    return rate_limited or isinstance(error, QuotaStoreError)
