"""Syncing many topics at once: readers side by side, one writer, one state."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from .event_streams.errors import EventStreamsError, ServiceError
from .event_streams.rate_limiter import TOO_MANY_REQUESTS
from .limits import Interval, RunStart
from .output.emitter import Emitter
from .output.summary import Progress, TopicSummary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .limits import RunLimits
    from .output.writer import PageWriter
    from .reading.consumer import TopicConsumer
    from .streams import TopicStream

logger = logging.getLogger("tap-workato-streams")


class _End(NamedTuple):
    """What a reader says when it is done with a topic, and what stopped it if it failed."""

    stream: TopicStream
    error: Exception | None


class Sync:
    """Reads topics in threads, each of which writes a page while it asks for the next one.

    So no topic has more than these two pages in memory.

    Args:
        streams: The streams to sync.
        writer: Writes the lines.
        write_state: Writes a STATE line if the state has changed since the last.
        limits: When to end, whether the topics have ended or not.
        readers: How many topics to read side by side.
        tail: Whether to go on when the end of a topic is reached.
        state_interval_secs: How long a changed state may go untold, in seconds.
    """

    def __init__(  # noqa: PLR0913
        self,
        streams: Sequence[TopicStream],
        writer: PageWriter,
        write_state: Callable[[], None],
        *,
        limits: RunLimits,
        readers: int,
        tail: bool,
        state_interval_secs: float,
    ) -> None:
        self._streams = streams
        self._writer = writer
        self._write_state = write_state
        self._limits = limits
        self._readers = min(readers, len(streams))
        self._tail = tail
        self._state_interval = Interval(state_interval_secs)
        self._run_start = RunStart()
        self._ends: queue.SimpleQueue[_End | None] = queue.SimpleQueue()
        self._summaries: dict[str, TopicSummary] = {}
        self._errors: list[Exception] = []
        self._output_error: OSError | None = None
        self._stopping = False
        self._output = Emitter(
            writer,
            write_state,
            limits,
            interval=self._state_interval,
            summaries=self._summaries,
            on_error=self._fail_to_write,
        )

    def stop(self) -> None:
        """End the run soon, with what has been read written and told; safe in a signal handler."""
        self._stopping = True
        self._ends.put(None)

    def run(self) -> None:
        """Sync the streams to their end, a limit, a failure or ``stop``.

        Raises:
            EventStreamsError: A topic failed for good: what was read is written, and told, before.
                Or standard output, as of a full disk.
        """
        logger.info("reading %d topics, %d side by side", len(self._streams), self._readers)
        try:
            # The state that was given holds until there is a newer one.
            self._write_state()
            for stream in self._streams:
                stream.write_schema()
                self._summaries[stream.name] = TopicSummary(stream)
            self._start_readers()
            self._wait()
            self._output.close()
            if self._output_error:
                raise self._output_error
        except OSError as exc:  # of standard output: files and sockets are the readers'
            self._stopping = True
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

    @property
    def _is_over(self) -> bool:
        return self._stopping or self._limits.reached

    def _start_readers(self) -> None:
        # The state is the writers' from here on, so what it says must have been looked up.
        waiting = deque((stream, self._reader(stream)) for stream in self._streams)

        def read_one_by_one() -> None:
            with contextlib.suppress(IndexError):  # none is waiting any more
                while not self._is_over:
                    self._read(*waiting.popleft())

        for _ in range(self._readers):
            # Daemons: a long poll that is under way must not hold up the end of the process.
            threading.Thread(target=read_one_by_one, daemon=True).start()

    def _reader(self, stream: TopicStream) -> TopicConsumer:
        return stream.reader(
            self._run_start,
            tail=self._tail,
            while_waiting=lambda: self._write_held(stream),
        )

    def _read(self, stream: TopicStream, reader: TopicConsumer) -> None:
        error = None
        try:
            for page in reader.pages():
                self._write_held(stream)
                if self._is_over or not self._output.takes(stream):
                    break
                self._output.hold(stream, page)
        except Exception as exc:  # noqa: BLE001 - handed to the run, which ends with it
            error = exc
        self._write_held(stream)
        self._ends.put(_End(stream, error))

    def _write_held(self, stream: TopicStream) -> None:
        self._output.write_held(stream)
        if self._limits.reached:
            self._ends.put(None)

    def _wait(self) -> None:
        """Wait for the end of all topics or of the run, and tell the state where it is due."""
        progress = Progress(self._summaries)
        open_topics = len(self._streams)
        while open_topics and not self._is_over:
            waits = [self._state_interval.left, progress.interval.left, self._limits.secs_left]
            end = self._next_end(min(wait for wait in waits if wait is not None))
            if end:
                open_topics -= 1
                self._summaries[end.stream.name].end()
                if end.error:
                    self._fail(end.error)
            self._output.write_state_if_due()
            progress.log_if_due()
        self._stopping = True

    def _next_end(self, timeout_secs: float) -> _End | None:
        try:
            return self._ends.get(timeout=timeout_secs)
        except queue.Empty:
            self._writer.check_reader()
            return None

    def _fail_to_write(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._output_error = error
            self.stop()
        else:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._errors.append(error)
        # The others would go on for ever in a tail, and wait as long where the workspace's quota
        # is used up for longer than may be retried: such a run ends with the first that fails.
        if self._tail or _is_quota(error):
            self.stop()


def _is_quota(error: Exception) -> bool:
    return isinstance(error, ServiceError) and error.status == TOO_MANY_REQUESTS
