"""Rejected messages, as Singer lines that can be piped into the target again."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from fcntl import LOCK_EX, LOCK_UN, flock
from io import FileIO
from mmap import ACCESS_READ, mmap
from pathlib import Path

from ..event_streams.errors import EventStreamsError
from ..singer_messages import Record, Stream

# How a dead-letter file begins. Singer programs ignore the field that shows what it is.
BEGINNING = b'{"type":"SCHEMA","_dead_letters":true,"stream":'


class DeadLetters:
    """A file of SCHEMA and RECORD lines; each RECORD message has an additional ``_error``.

    The file is opened for the first message, in append mode, and again if it is no longer the one
    at the path or was truncated. All methods raise ``EventStreamsError`` if it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None
        self._stat: os.stat_result | None = None  # after the last write
        self._unsynced = self._failed = False
        self._described: dict[str, Stream] = {}

    def write(self, record: Record, error: Mapping[str, object]) -> None:
        """Append a record, preceded by the schema of its stream if that is new."""
        stream = record.stream
        name = json.dumps(stream.name).encode()
        now = datetime.now(timezone.utc).isoformat()
        # From these, the SDK fills its metadata columns.
        fields = {b"version": record.version, b"time_extracted": record.time_extracted}
        text = b'{"type":"RECORD","stream":%b,"record":%b%b,"_error":%b}\n' % (
            name,
            record.text,
            b"".join(b',"%b":%b' % field for field in fields.items() if field[1]),
            json.dumps({**error, "time": now}).encode(),
        )
        with self._naming_the_file():
            file = self._current_file()
            if self._described.get(stream.name) is not stream:
                self._described[stream.name] = stream
                keys = json.dumps(list(stream.key_properties)).encode()
                schema = BEGINNING + b'%b,"schema":%b,"key_properties":%b}\n'
                text = schema % (name, stream.schema, keys) + text
            flock(file, LOCK_EX)  # other pipelines may use the file; after an error, until `close`
            _repair_last_line(file)
            left = memoryview(text)
            while left:
                left = left[file.write(left) :]
            self._stat = os.fstat(file.fileno())
            flock(file, LOCK_UN)
        self._unsynced = True

    def sync(self) -> None:
        """Flush the file to disk, so that a state may cover its messages."""
        with self._naming_the_file():
            if self._file is not None and self._unsynced:
                os.fsync(self._file.fileno())
        self._unsynced = False

    def close(self) -> None:
        """Flush the file to disk, and close it in any case."""
        try:
            self.sync()
        finally:
            if self._file is not None:
                self._file.close()

    def _current_file(self) -> FileIO:
        """Return the file at the path; it may have been moved for a replay, or rotated."""
        if self._file and self._stat:
            with suppress(FileNotFoundError):
                found = self._path.stat()
                if os.path.samestat(found, self._stat) and found.st_size >= self._stat.st_size:
                    return self._file
            self.close()
            self._described.clear()
        self._file = _open(self._path)
        return self._file

    @contextmanager
    def _naming_the_file(self) -> Iterator[None]:
        if self._failed:
            raise EventStreamsError(f"dead_letter_path {self._path}: an earlier write failed")
        try:
            yield
        except OSError as exc:
            self._failed = True  # the file may end within a line
            reason = exc.strerror or type(exc).__name__
            raise EventStreamsError(f"dead_letter_path {self._path}: {reason}") from exc


def _open(path: Path) -> FileIO:
    """Open the file, and flush its directory entry to disk."""
    new = not path.exists()
    # The file contains payloads, so only its owner may read it.
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with suppress(PermissionError):  # the file of another user
        os.fchmod(descriptor, 0o600)
    # Without a buffer, nothing that failed is written again when the file is closed.
    file = FileIO(descriptor, "ab+")
    if new:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return file


def _repair_last_line(file: FileIO) -> None:
    """Remove an incomplete line of a failed run: no state covers it, and it cannot be replayed."""
    size = file.seek(0, os.SEEK_END)
    if not size or os.pread(file.fileno(), 1, size - 1) == b"\n":
        return
    with mmap(file.fileno(), 0, access=ACCESS_READ) as text:
        last = text[text.rfind(b"\n") + 1 :]
    try:
        json.loads(last)
    except (ValueError, RecursionError):
        file.truncate(size - len(last))
    else:
        file.write(b"\n")
