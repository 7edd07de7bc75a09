"""The emitter, which writes pages and STATE lines one at a time."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..limits import Interval, RunLimits
    from ..reading.topic import Page

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
