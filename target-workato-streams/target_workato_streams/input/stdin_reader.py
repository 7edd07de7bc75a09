"""Reads stdin without blocking on it: workers, timers and signals are handled in between."""

from __future__ import annotations

import io
import os
import select
import sys
from collections import Counter
from typing import IO, TYPE_CHECKING, Protocol

from singer_sdk.singerlib.encoding.base import GenericSingerReader
from typing_extensions import override

from ..event_streams.errors import Stopped
from .singer_lines import InputError, split

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .singer_lines import Line

CHUNK_BYTES = 256 * 1024


class Poller(Protocol):
    """What has to be polled while the input is read."""

    @property
    def stopping(self) -> bool:
        """Whether reading should stop."""

    def fileno(self) -> int:
        """Return the descriptor that is readable when `poll` has something to do."""

    def poll_timeout(self) -> float:
        """Return the seconds after which `poll` has something to do anyway."""

    def poll(self) -> None:
        """Handle what is due."""

    def finish(self) -> None:
        """Publish what has been read."""


class StdinReader(GenericSingerReader[bytes]):
    """Splits the input into messages, and passes them to the target's callbacks.

    Attributes:
        poller: Polled between two reads; finishes if the input fails.
        line_number: The number of the line being processed.
    """

    poller: Poller

    def __init__(self) -> None:
        super().__init__()
        self.line_number = 0

    @property
    @override
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    @override
    def deserialize_json(self, line: bytes) -> Line:  # type: ignore[override]
        """Split a line into its fields; large ones are not decoded."""
        return split(line)

    @override
    def process_lines(  # type: ignore[override]
        self,
        file_input: IO[str] | IO[bytes] | None,
        callbacks: Mapping[str, Callable[[Line], None]],
    ) -> Counter[str]:
        """Read to the end, or until the poller stops.

        Args:
            file_input: The input; None for stdin.
            callbacks: The functions that process a message, by its type.

        Returns:
            The number of messages of each type.

        Raises:
            InputError: A line is invalid. What precedes it has been published, as after any other
                error.
        """
        counts: Counter[str] = Counter()
        try:
            for line in self._lines(file_input or self.default_input):
                self.line_number += 1
                if line.isspace() or not line:
                    continue
                message = self.deserialize_json(line)
                callbacks.get(message.type, _unknown)(message)
                counts[message.type] += 1
                if self.poller.stopping:
                    break
        except Stopped:
            # A signal arrived while a message was processed that has published nothing yet.
            return counts
        except InputError as exc:
            exc.args = (f"line {self.line_number} of the input: {exc}",)
            self.poller.finish()
            raise
        except Exception:
            self.poller.finish()
            raise
        return counts

    def _lines(self, source: IO[str] | IO[bytes]) -> Iterator[bytes]:
        descriptor = _descriptor(source)
        if descriptor is None:
            for line in source:
                self.poller.poll()
                yield line.encode() if isinstance(line, str) else line
            return
        # A line may span many chunks: they are joined once, when the line is complete.
        pieces: list[bytes] = []
        for chunk in self._chunks(descriptor):
            head, newline, tail = chunk.rpartition(b"\n")
            if newline:
                pieces.append(head)
                yield from b"".join(pieces).split(b"\n")
                pieces = []
            if tail:
                pieces.append(tail)
        if pieces and not self.poller.stopping:
            yield from self._last(b"".join(pieces))

    def _chunks(self, descriptor: int) -> Iterator[bytes]:
        poller = self.poller
        watched: list[int | Poller] = [descriptor, poller]
        while not poller.stopping:
            ready, _, _ = select.select(watched, [], [], poller.poll_timeout())
            poller.poll()
            if descriptor in ready and not poller.stopping:
                chunk = os.read(descriptor, CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk

    def _last(self, line: bytes) -> Iterator[bytes]:
        """Yield the last line, which has no newline, if it is complete."""
        try:
            split(line)
        except InputError as exc:
            self.line_number += 1
            raise InputError(f"the input ends within this line ({exc})") from None
        yield line


def _descriptor(source: IO[str] | IO[bytes]) -> int | None:
    """Return the descriptor to wait on, if there is one."""
    try:
        return source.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def _unknown(message: Line) -> None:
    message.need("type")
    raise InputError("unknown message type")
