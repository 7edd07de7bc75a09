"""Reading stdin without blocking on it: workers, timers and signals are handled in between."""

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
    """Who has something to do while the input is read."""

    @property
    def stopping(self) -> bool:
        """Whether the input should be read no further."""

    def fileno(self) -> int:
        """The descriptor that is ready to read when `attend` has something to do."""

    def poll_timeout(self) -> float:
        """The seconds after which `attend` has something to do, if nothing else happens."""

    def poll(self) -> None:
        """Do what is due."""

    def finish(self) -> None:
        """Bring all that was read to its end."""


class StdinReader(GenericSingerReader[bytes]):
    """Splits the input into messages, and hands them to the target's callbacks.

    Attributes:
        poller: Who is asked between two reads, and finishes when the input fails.
        position: The number of the line being processed.
    """

    poller: Poller

    def __init__(self) -> None:
        super().__init__()
        self.position = 0

    @property
    @override
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    @override
    def deserialize_json(self, line: bytes) -> Line:  # type: ignore[override]
        """Split a line into its fields; the large ones stay undecoded."""
        return split(line)

    @override
    def process_lines(  # type: ignore[override]
        self,
        file_input: IO[str] | IO[bytes] | None,
        callbacks: Mapping[str, Callable[[Line], None]],
    ) -> Counter[str]:
        """Read to the end, or until the poller wants to stop.

        Args:
            file_input: The input; standard input if it is None.
            callbacks: What takes a message, by its type.

        Returns:
            How many messages of each type were processed.

        Raises:
            InputError: A line is not what a tap may write. All before it has been brought to its
                end first, as after any other error.
        """
        counts: Counter[str] = Counter()
        try:
            for line in self._lines(file_input or self.default_input):
                self.position += 1
                if line.isspace() or not line:
                    continue
                message = self.deserialize_json(line)
                callbacks.get(message.type, _unknown)(message)
                counts[message.type] += 1
                if self.poller.stopping:
                    break
        except Stopped:
            # The signal came while a message was processed: nothing of it is unacknowledged.
            return counts
        except InputError as exc:
            exc.args = (f"line {self.position} of the input: {exc}",)
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
        # A line may be larger than many chunks: they are joined once, when its end has come.
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
        """The last line, without a newline: whole, or cut off."""
        try:
            split(line)
        except InputError as exc:
            self.position += 1
            raise InputError(f"the input ends in the middle of it ({exc})") from None
        yield line


def _descriptor(source: IO[str] | IO[bytes]) -> int | None:
    """The descriptor to wait on, where there is one."""
    try:
        # Windows can wait for sockets alone.
        return None if sys.platform == "win32" else source.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def _unknown(message: Line) -> None:
    message.need("type")
    raise InputError("its type is not one of the messages of Singer")
