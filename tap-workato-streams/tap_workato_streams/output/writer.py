"""Writing Singer messages to standard output, a page at a time."""

from __future__ import annotations

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

    from ..reading.pages import Message

_encode = msgspec.json.encode


class PageWriter(GenericSingerWriter[bytes, SingerMessage]):
    """Writes lines to standard output; records are flushed by page, all else at once."""

    @override
    def serialize_message(self, message: SingerMessage) -> bytes:
        """Turn a message of the SDK into a line; every digit of a Decimal is kept."""
        return serialize_json(message.to_dict()).encode() + b"\n"

    @override
    def write_message(self, message: SingerMessage) -> None:
        """Write a message of the SDK.

        The SDK flushes each record; here a record is flushed with its page, or with the STATE
        that covers it.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
        """
        _write(self.format_message(message))
        if not isinstance(message, RecordMessage):
            self.flush()

    def write_page(self, stream: str, topic_id: int, messages: Sequence[Message]) -> None:
        """Write messages as RECORD lines, each payload byte for byte as it came, and flush.

        Args:
            stream: The name of the stream.
            topic_id: The id of the topic.
            messages: The messages, in order.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
        """
        head = b'{"type":"RECORD","stream":%b,"record":{"message_id":' % _encode(stream)
        middle = b',"topic_id":%d,"time":' % topic_id
        tail = b'},"time_extracted":%b}\n' % _encode(datetime.now(timezone.utc))
        parts: list[bytes] = []
        for message, payload in zip(messages, _on_one_line(messages), strict=True):
            parts += head, _encode(message.message_id), middle, _encode(message.time)
            parts += b',"payload":', payload, tail
        _write(b"".join(parts))
        self.flush()

    def flush(self) -> None:
        """Hand what was written to the reader of standard output."""
        sys.stdout.buffer.flush()

    def check_reader(self) -> None:
        """Find out whether someone still reads, which an idle run would never notice.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
        """
        try:
            poll = select.poll()
            poll.register(sys.stdout.buffer, 0)
        except (AttributeError, OSError):  # on Windows, or no file: then the next write tells
            return
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            raise BrokenPipeError


def _on_one_line(messages: Sequence[Message]) -> list[bytes]:
    """The payloads' bytes; a publisher's line breaks, which JSON allows, become spaces."""
    payloads = [bytes(message.payload) for message in messages]
    # Few have any, and one look at all of them is a fraction of a look at each.
    together = b"".join(payloads)
    if b"\n" in together or b"\r" in together:
        return [payload.translate(_BREAKS) for payload in payloads]
    return payloads


# Inside a JSON string a line break is written as an escape: one found in the text is white space.
_BREAKS = bytes.maketrans(b"\n\r", b"  ")


def _write(data: bytes) -> None:
    # With PYTHONUNBUFFERED the buffer is the file itself, which may take less than it is given.
    view = memoryview(data)
    while view:
        view = view[sys.stdout.buffer.write(view) :]
