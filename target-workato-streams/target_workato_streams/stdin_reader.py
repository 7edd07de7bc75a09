"""Reads stdin without blocking, so that workers, timers and signals can be handled in between."""

from __future__ import annotations

import codecs
import io
import logging
import os
import select
import signal
import stat
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import IO

from singer_sdk.singerlib.encoding.base import GenericSingerReader
from typing_extensions import override

from .event_streams import logger
from .event_streams.errors import EventStreamsError, SettingError, Stopped
from .plugin.command import safe_text
from .publishing.producer import Producer
from .singer_messages import InputError, SingerMessage, parse_message

CHUNK_BYTES = 256 * 1024
# How long the input is read after a failure.
DISCARD_SECS = 5.0


class StdinReader(GenericSingerReader[bytes]):
    """Splits the input into messages, and passes them to the target's callbacks."""

    producer: Producer  # polled between two reads; finishes if the input fails

    def __init__(self) -> None:
        super().__init__()
        self.line_number = 0  # of the line being processed

    @property
    @override
    def default_input(self) -> IO[bytes]:
        return sys.stdin.buffer

    @override
    def deserialize_json(self, line: bytes) -> SingerMessage:  # type: ignore[override]  # not a dict
        return parse_message(line)

    @override
    def process_lines(  # type: ignore[override]  # a message is not a dict
        self,
        file_input: IO[str] | IO[bytes] | None,
        callbacks: Mapping[str, Callable[[SingerMessage], None]],
    ) -> Counter[str]:
        """Read to the end, or until the producer stops; then process only what has been read.

        After an error, the records before it have been published.
        """
        counts: Counter[str] = Counter()
        source = self._checked(file_input)
        try:
            for line in self._lines(source):
                self.line_number += 1
                if line and not line.isspace():
                    message = parse_message(line)
                    callbacks.get(message.type, _unknown)(message)
                    counts[message.type] += 1
        except Stopped:
            # After a signal, a message would have to wait; what was read before it is published.
            return counts
        except Exception as exc:
            if isinstance(exc, InputError):
                exc.args = (f"line {self.line_number} of the input: {exc}",)
            try:
                self.producer.finish()
            except EventStreamsError as failure:
                if failure is not exc:
                    logger.error("%s", safe_text(exc))
                raise
            raise
        return counts

    def _checked(self, file_input: IO[str] | IO[bytes] | None) -> IO[str] | IO[bytes]:
        """Check the input and stdout before the first request."""
        # Python sets the standard streams that are closed at its start to None.
        if sys.stdout is None:
            raise EventStreamsError("stdout is closed, so no state can be emitted; redirect it")
        if file_input is None and sys.stdin is None:
            raise EventStreamsError("stdin is closed; pipe the output of a tap into it")
        source = file_input or self.default_input
        path, descriptor = self.producer.dead_letter_path, _descriptor(source)
        if (
            path is not None
            and path.exists()
            and descriptor is not None
            and os.path.samestat(os.fstat(descriptor), path.stat())
        ):
            raise SettingError(
                f"dead_letter_path {path} is also the input; move the file before you replay it"
            )
        return source

    def _lines(self, source: IO[str] | IO[bytes]) -> Iterator[bytes]:
        mark = codecs.BOM_UTF8
        # A line may span many chunks, which are joined only once, when the line is complete.
        pieces: list[bytes] = []
        for chunk in self._chunks(source):
            head, newline, tail = chunk.removeprefix(mark).rpartition(b"\n")
            mark = b""
            if newline:
                pieces.append(head)
                yield from b"".join(pieces).split(b"\n")
                pieces = []
            if tail:
                pieces.append(tail)
        if pieces and not self.producer.stopping:
            # The last line may have no newline if it is complete.
            line = b"".join(pieces)
            try:
                parse_message(line)
            except InputError as exc:
                self.line_number += 1
                raise InputError(f"the input ends within this line ({exc})") from None
            yield line

    def _chunks(self, source: IO[str] | IO[bytes]) -> Iterator[bytes]:
        producer, descriptor = self.producer, _descriptor(source)
        if descriptor is None:
            for line in source:
                producer.poll()
                if producer.stopping:
                    return
                yield line.encode() if isinstance(line, str) else line
            return
        while not producer.stopping:
            readable = producer.wait(descriptor)
            producer.poll()
            if readable and not producer.stopping:
                if not (chunk := _read(descriptor)):
                    return
                yield chunk


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except OSError as exc:
        raise EventStreamsError(f"cannot read the input ({exc.strerror}); check stdin") from exc


def _descriptor(source: IO[str] | IO[bytes]) -> int | None:
    """Return the descriptor to wait on, if there is one."""
    try:
        return source.fileno()
    except (AttributeError, io.UnsupportedOperation):
        return None


def discard_input() -> None:
    """After a failure, read on: Meltano would log a hundred lines about a broken pipe below it."""
    logging.disable()  # the error stays the last line, whatever the workers still do
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # ends the process at once
    deadline = time.monotonic() + DISCARD_SECS
    with suppress(OSError, AttributeError):  # stdin is None if it was closed at the start
        mode = os.fstat(sys.stdin.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):
            while (secs := deadline - time.monotonic()) > 0:
                if not select.select([0], [], [], secs)[0] or not os.read(0, CHUNK_BYTES):
                    return


def _unknown(message: SingerMessage) -> None:
    message.need("type")
    raise InputError("unknown message type")
