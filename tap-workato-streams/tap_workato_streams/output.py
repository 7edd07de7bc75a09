"""One writer: readers write their own pages, one at a time, and the state is told in between."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .limits import RunLimits
    from .pages import Page
    from .streams import TopicStream
    from .summary import TopicSummary
    from .writer import PageWriter


class Output:
    """Where the readers of all topics hold and write their pages.

    Whoever has the lock writes a whole page and moves its bookmark, or tells the state: a STATE
    line covers just the records that stand before it.

    Args:
        writer: Writes the lines.
        tell_state: Writes a STATE line if the state has changed since the last.
        limits: How many messages may be written.
        summaries: The summary of each stream, by its name.
    """

    def __init__(
        self,
        writer: PageWriter,
        tell_state: Callable[[], None],
        limits: RunLimits,
        summaries: Mapping[str, TopicSummary],
    ) -> None:
        self._writer = writer
        self._tell_state = tell_state
        self._limits = limits
        self._summaries = summaries
        self._lock = threading.Lock()
        self._held: dict[str, Page] = {}
        self._closed = False

    def hold(self, stream: TopicStream, page: Page) -> None:
        """Take the page that is to be written next; the one before it must have been."""
        self._held[stream.name] = page

    def write_held(self, stream: TopicStream) -> None:
        """Write the page that is held for a stream, if there is one, unless all is over.

        Raises:
            EventStreamsError: A message cannot be decoded, or a stream map fails on it.
            OSError: Standard output takes nothing more.
        """
        if stream.name not in self._held:
            return
        with self._lock:
            page = self._held.pop(stream.name, None)
            if page is None or self._closed:
                return
            taken = self._limits.take(len(page.messages))
            page = page._replace(messages=page.messages[:taken])
            stream.write_messages(page.messages, self._writer)
            if bookmark := page.bookmark():
                stream.bookmark = bookmark
            self._summaries[stream.name].add(page)

    def tell(self, *, close: bool = False) -> None:
        """Tell the state; with ``close``, as the last line.

        Raises:
            OSError: Standard output takes nothing more.
        """
        with self._lock:
            self._closed = close
            self._tell_state()
