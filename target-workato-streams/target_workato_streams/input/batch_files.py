"""Reads the files of a BATCH message line by line, since they may be larger than memory."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING, Any

import msgspec
from singer_sdk.helpers._batch import StorageTarget

from ..plugin.json_scanner import check_utf8, members
from .singer_lines import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .singer_lines import Line

_RECORD = msgspec.json.Decoder(msgspec.Raw)


def records(message: Line, batch_config: Mapping[str, Any] | None) -> Iterator[tuple[str, bytes]]:
    """Read the records of all files of a BATCH message.

    Args:
        message: The message.
        batch_config: The setting of that name, which may say where the files are.

    Yields:
        The file name and line number of each record, and the record.

    Raises:
        InputError: A file is missing, cannot be read, or contains something else.
    """
    encoding = json.loads(bytes(message.encoding))
    manifest = json.loads(bytes(message.manifest))
    if not isinstance(encoding, dict) or encoding.get("format") != "jsonl":
        raise InputError("the files of a BATCH message must be in jsonl format")
    if encoding.get("compression") not in {None, "none", "gzip"}:
        raise InputError("the files of a BATCH message must be compressed with gzip or not at all")
    if not isinstance(manifest, list) or not all(isinstance(path, str) for path in manifest):
        raise InputError("the manifest of a BATCH message must be a list of files")
    folder = (batch_config or {}).get("storage")
    storage = StorageTarget.from_dict(folder) if folder else None
    for path in manifest:
        yield from _records_of(path, encoding.get("compression"), storage)


def _records_of(
    path: str,
    compression: str | None,
    storage: StorageTarget | None,
) -> Iterator[tuple[str, bytes]]:
    folder, name = StorageTarget.split_url(path)
    try:
        with (storage or StorageTarget.from_url(folder)).open(name, "rb") as file:
            lines: Iterable[bytes] = gzip.open(file) if compression == "gzip" else file  # noqa: SIM115
            for number, line in enumerate(lines, start=1):
                if not line.isspace():
                    yield f"{name}:{number}", _record(line, f"{name}:{number}")
    except (OSError, EOFError, zlib.error) as exc:
        raise InputError(f"the batch file {name} cannot be read: {type(exc).__name__}") from exc


def _record(line: bytes, place: str) -> bytes:
    try:
        try:
            record = bytes(_RECORD.decode(line))
            check_utf8(record)
        except (msgspec.DecodeError, RecursionError):
            members(line)
            record = line.strip()
    except ValueError as exc:
        raise InputError(f"{place}: {exc}") from None
    if record[:1] != b"{":
        raise InputError(f"{place}: the record is not an object")
    return record
