"""Messages that were set aside, as Singer lines that can be piped into the target again."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, BinaryIO

from ..event_streams.errors import EventStreamsError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..publishing.bisect import Rejected
    from ..publishing.messages import Origin, Stream


BLOCK_BYTES = 64 * 1024


class DeadLetters:
    """A file of SCHEMA and RECORD lines; each record has an ``_error`` beside it.

    The file is opened when there is something to write, and only ever added to.

    Args:
        path: The file; its folder must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._unsynced = False
        self._described: dict[str, Stream] = {}

    def write(self, rejected: Rejected, topic_id: int) -> None:
        """Add a message, after the schema of its stream where that is new.

        Args:
            rejected: The message, and why it was not taken.
            topic_id: The topic that it was for.

        Raises:
            EventStreamsError: The file cannot be written.
        """
        origin = rejected.message.origin
        stream = origin.stream
        name = json.dumps(stream.name).encode()
        error = {
            "topic_id": topic_id,
            "reason": rejected.reason,
            "status": rejected.status,
            "attempts": rejected.attempts,
            "time": datetime.now(timezone.utc).isoformat(),
        }
        text = b'{"type":"RECORD","stream":%b,"record":%b%b,"_error":%b}\n' % (
            name,
            origin.record,
            _beside_the_record(origin),
            json.dumps(error).encode(),
        )
        if self._described.get(stream.name) is not stream:
            self._described[stream.name] = stream
            keys = json.dumps(list(stream.key_properties)).encode()
            schema = b'{"type":"SCHEMA","stream":%b,"schema":%b,"key_properties":%b}\n'
            text = schema % (name, stream.schema, keys) + text
        with self._named():
            if self._file is None:
                self._file = _open(self._path)
            self._file.write(text)
        self._unsynced = True

    def sync(self) -> None:
        """Flush to disk what was added, so that a state may cover it.

        Raises:
            EventStreamsError: The disk did not take it.
        """
        if self._file is not None and self._unsynced:
            with self._named():
                self._file.flush()
                os.fsync(self._file.fileno())
            self._unsynced = False

    def close(self) -> None:
        """Flush and close the file.

        Raises:
            EventStreamsError: The disk did not take it.
        """
        if self._file is not None:
            with self._named(), self._file:
                self.sync()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            reason = exc.strerror or type(exc).__name__
            raise EventStreamsError(f"dead_letter_path {self._path}: {reason}") from exc


def _beside_the_record(origin: Origin) -> bytes:
    """What its RECORD message tells of a record, and the metadata that the SDK adds is made of."""
    fields = {b"version": origin.version, b"time_extracted": origin.time_extracted}
    return b"".join(b',"%b":%b' % field for field in fields.items() if field[1])


def _open(path: Path) -> BinaryIO:
    """Open the file behind its last whole line, and make sure that the disk knows of the file."""
    new = not path.exists()
    file = path.open("ab+")
    _mend_last_line(file)
    if new and os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return file


def _mend_last_line(file: BinaryIO) -> None:
    """Drop a line that a killed run left unfinished: no state covers it, and no replay reads it."""
    size = start = file.seek(0, os.SEEK_END)
    tail = b""
    while start and b"\n" not in tail:
        file.seek(start := max(0, start - BLOCK_BYTES))
        tail = file.read(size - start)
    last = tail.rpartition(b"\n")[2]
    if last:
        try:
            json.loads(last)
        except ValueError:
            file.truncate(size - len(last))
        else:
            file.write(b"\n")
