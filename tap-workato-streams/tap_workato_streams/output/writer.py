"""Writes Singer messages to stdout, one page at a time."""

from __future__ import annotations

import os
import select
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import msgspec
from singer_sdk.io_base import GenericSingerWriter
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.singerlib.messages import Message as SingerMessage
from singer_sdk.singerlib.messages import RecordMessage
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..event_streams.consume import Message

_encode = msgspec.json.encode
# The capacity of a pipe: a larger write would not show whether the loader is reading.
CHUNK_BYTES = 65_536
# Line breaks in JSON strings are escaped, so all others are white space.
_BREAKS = bytes.maketrans(b"\n\r", b"  ")
_written = 0


class PageWriter(GenericSingerWriter[bytes, SingerMessage]):
    """Writes lines to stdout; flushes records once per page, and other messages immediately."""

    @override
    def serialize_message(self, message: SingerMessage) -> bytes:
        """Serialize a message of the SDK; every digit of a Decimal is kept."""
        return serialize_json(message.to_dict()).encode() + b"\n"

    @override
    def write_message(self, message: SingerMessage) -> None:
        """Write a message of the SDK.

        Unlike in the SDK, records are not flushed one by one, but with their page or their STATE.

        Raises:
            OSError: stdout cannot be written to.
        """
        _write(self.format_message(message))
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_records(
        self, stream: str, topic_id: int, messages: Sequence[Message], members: Sequence[bytes]
    ) -> None:
        """Write messages as RECORD lines, and flush.

        Args:
            stream: The name of the stream.
            topic_id: The id of the topic.
            messages: The messages, in topic order.
            members: The JSON text of each record's members after ``time``; it may be empty.

        Raises:
            OSError: stdout cannot be written to.
        """
        head = b'{"type":"RECORD","stream":%b,"record":{"message_id":' % _encode(stream)
        middle = b',"topic_id":%d,"time":' % topic_id
        tail = b'},"time_extracted":%b}\n' % _encode(datetime.now(timezone.utc))
        parts: list[bytes] = []
        for message, text in zip(messages, members, strict=True):
            parts += head, _encode(message.message_id), middle, _encode(message.time)
            parts += b"," if text else b"", text, tail
        _write(b"".join(parts))
        self.flush()

    def flush(self) -> None:
        """Flush stdout."""
        sys.stdout.buffer.flush()


def check_stdout() -> None:
    """Check that stdout is still open, which an idle run would not notice otherwise.

    Raises:
        BrokenPipeError: The loader has closed it.
    """
    try:
        poll = select.poll()
        poll.register(sys.stdout.buffer, 0)
    except (AttributeError, OSError):
        return  # stdout is not a file, for example in tests; the next write will show the error.
    if any(event & select.POLLERR for _, event in poll.poll(0)):
        raise BrokenPipeError


def discard_stdout() -> None:
    """Discard what is buffered for a closed stdout, because the flush at exit would fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def payload_lines(messages: Sequence[Message]) -> list[bytes]:
    """Return the payloads as bytes; line breaks, which JSON allows, become spaces."""
    payloads = [bytes(message.payload) for message in messages]
    # Line breaks are rare, and one search in all payloads is faster than a search in each of them.
    together = b"".join(payloads)
    if b"\n" in together or b"\r" in together:
        return [payload.translate(_BREAKS) for payload in payloads]
    return payloads


def bytes_written() -> int:
    """Return the number of bytes written to stdout, which shows whether the loader reads."""
    return _written


def _write(data: bytes) -> None:
    global _written  # noqa: PLW0603 - there is one stdout
    # With PYTHONUNBUFFERED, the buffer is the raw file, whose write() may be partial.
    view = memoryview(data)
    while view:
        count = sys.stdout.buffer.write(view[:CHUNK_BYTES])
        _written += count
        view = view[count:]
