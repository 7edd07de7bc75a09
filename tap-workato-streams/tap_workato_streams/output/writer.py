"""Writes Singer messages to stdout, one page at a time."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Sequence
from datetime import datetime, timezone

import msgspec
from singer_sdk.io_base import GenericSingerWriter
from singer_sdk.singerlib.json import serialize_json
from singer_sdk.singerlib.messages import Message as SingerMessage
from singer_sdk.singerlib.messages import RecordMessage
from typing_extensions import override

from ..event_streams.consume import Message

# Slices of a response are written without copying them.
Texts = Sequence[bytes | msgspec.Raw]


_encode = msgspec.json.encode
# The capacity of a pipe: a larger write would not show whether the loader is reading.
CHUNK_BYTES = 65_536
# A larger page is written record by record, because it would need its memory twice.
MAX_COPIED_BYTES = 1_048_576
_written = 0


class PageWriter(GenericSingerWriter[bytes, SingerMessage]):
    """Writes lines to stdout; flushes records once per page, and other messages immediately."""

    @override
    def serialize_message(self, message: SingerMessage) -> bytes:
        """Serialize a message of the SDK; every digit of a Decimal is kept."""
        return serialize_json(message.to_dict()).encode() + b"\n"

    @override
    def write_message(self, message: SingerMessage) -> None:
        """Write a message of the SDK; records are only flushed with their page or their STATE."""
        _write(self.format_message(message))
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_records(
        self,
        stream: str,
        topic_id: int,
        messages: Sequence[Message],
        members: Texts,
        name: bytes = b"",
    ) -> None:
        """Write messages as RECORD lines, and flush.

        ``members`` has the JSON text of each record after ``time``, which may be empty; ``name``
        precedes each text, if it is only a value.
        """
        head = b'{"type":"RECORD","stream":%b,"record":{"message_id":' % _encode(stream)
        middle = b',"topic_id":%d,"time":' % topic_id
        comma = b"," + name
        tail = b'},"time_extracted":%b}\n' % _encode(datetime.now(timezone.utc))
        is_large = sum([memoryview(text).nbytes for text in members]) > MAX_COPIED_BYTES
        parts: list[bytes | msgspec.Raw] = []
        for message, text in zip(messages, members, strict=True):
            message_id, time = _encode(message.message_id), _encode(message.time)
            parts.extend((head, message_id, middle, time, comma if text else b"", text, tail))
            if is_large:
                _write(b"".join(parts))
                parts.clear()
        _write(b"".join(parts))
        self.flush()

    def flush(self) -> None:
        """Flush stdout."""
        sys.stdout.buffer.flush()


def check_stdout() -> None:
    """Raise BrokenPipeError if the loader has closed stdout: an idle run would not notice it."""
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


def bytes_written() -> int:
    """Return the number of bytes written to stdout, which shows whether the loader reads."""
    return _written


def _write(data: bytes) -> None:
    global _written  # noqa: PLW0603 - there is one stdout, also for several writers
    # With PYTHONUNBUFFERED, the buffer is the raw file, whose write() may be partial.
    view = memoryview(data)
    while view:
        count = sys.stdout.buffer.write(view[:CHUNK_BYTES])
        _written += count
        view = view[count:]
