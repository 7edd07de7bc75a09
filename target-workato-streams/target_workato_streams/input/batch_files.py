"""Reads the files of a BATCH message line by line, since they may be larger than memory."""

from __future__ import annotations

import codecs
import gzip
import stat
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal
from urllib.parse import unquote, urlsplit

import msgspec

from ..plugin.json import check_utf8, members
from .messages import InputError, SingerMessage

# Far above the size of a message, so that a small compressed file cannot fill the memory.
MAX_LINE_BYTES = 64 * 1024 * 1024


def records(message: SingerMessage, storage: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield the records of all files of a BATCH message, with their file name and line number.

    Raises `InputError` if a file is missing, cannot be read, or contains something else.
    """
    try:
        encoding = msgspec.json.decode(message.encoding, type=_Encoding)
        for url in msgspec.json.decode(message.manifest, type=list[str]):
            yield from _records_of(url, storage, is_packed=encoding.compression == "gzip")
    except msgspec.ValidationError as exc:
        raise InputError(
            f"stream {message.stream}: the manifest of a BATCH message must be a list of files "
            "in jsonl format, compressed with gzip or not at all"
        ) from exc
    except InputError as exc:
        raise InputError(f"stream {message.stream}: {exc}") from exc


class _Encoding(msgspec.Struct):
    format: Literal["jsonl"]
    compression: Literal["gzip", "none"] | None = None


def _records_of(
    url: str, storage: Mapping[str, Any], *, is_packed: bool
) -> Iterator[tuple[str, bytes]]:
    name = "(malformed URL)"
    try:
        # Without the query, which may contain a signature.
        name = PurePosixPath(unquote(urlsplit(url).path)).name
        with _open(url, name, storage) as file:
            lines = gzip.GzipFile(fileobj=file) if is_packed else file
            for number, line in enumerate(iter(partial(lines.readline, MAX_LINE_BYTES), b""), 1):
                place = f"{name}:{number}"
                text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
                if not text.isspace():
                    yield place, _record(text, place)
    except InputError:
        raise
    except Exception as exc:
        # Libraries for remote storage raise their own exceptions.
        raise InputError(
            f"the batch file {name} cannot be read: {type(exc).__name__}; check that it exists and "
            "is complete, or set batch_config to its location and credentials"
        ) from exc


def _open(url: str, name: str, storage: Mapping[str, Any]) -> IO[bytes]:
    """Open a file, without creating folders as the SDK's ``StorageTarget`` does."""
    if not urlsplit(url).scheme or not name:
        raise InputError(
            f"the batch file {name or '(empty)'} has no URL such as file:///folder/{name}; fix "
            "batch_config of the tap"
        )
    root = str(storage.get("root") or "").rstrip("/")
    parts = urlsplit(root or url)
    if parts.scheme in {"", "file", "local"}:
        path = Path(unquote(parts.path))
        if root:
            path /= name
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"the batch file {name} is not a regular file")
        return path.open("rb")
    if root:
        url = f"{root}/{PurePosixPath(urlsplit(url).path).name}"
    import fsspec  # noqa: PLC0415 - rarely needed, and slow to import

    try:
        opened: IO[bytes] = fsspec.open(url, "rb", **(storage.get("params") or {})).open()
    except (ImportError, ValueError) as exc:
        raise InputError(
            f"the batch file {name} is on {parts.scheme}://, which cannot be read "
            f"({type(exc).__name__}); for s3://, add [s3] to the path in the pip_url of "
            "target-workato-streams and run meltano install, or let the tap write to file://"
        ) from exc
    return opened


def _record(line: bytes, place: str) -> bytes:
    if len(line) == MAX_LINE_BYTES:
        raise InputError(f"{place}: longer than {MAX_LINE_BYTES >> 20} MB")
    try:
        check_utf8(line)
        members(line)
    except ValueError as exc:
        raise InputError(f"{place}: {exc}") from None
    return line.strip()
