"""The `_rescued` object of a record: JSON Pointers and the values that have no column."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from .json_values import as_text, needs_text

if TYPE_CHECKING:
    from .columns import Path
    from .unpacker import Misfit

_encode = msgspec.json.encode


def pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


class Rescued:
    """What a payload holds that has no place in the record's columns."""

    def __init__(self) -> None:
        self._members: list[bytes] = []
        self._unnamed: dict[Path, list[bytes]] = {}

    def add(self, misfit: Misfit) -> None:
        """Keep a value as it was published, or as JSON text if no database can store it.

        A field whose name no database can store is kept in the JSON text of an object, under the
        pointer of the object that it belongs to.
        """
        path, raw, _, name = misfit
        if name is None:
            self._members.append(b"%b:%b" % (_encode(pointer(path)), _encoded(raw)))
        else:
            self._unnamed.setdefault(path, []).append(b"%b:%b" % (json.dumps(name).encode(), raw))

    def encode(self) -> bytes:
        """The JSON object."""
        unnamed = [
            b"%b:%b" % (_encode(pointer(path)), as_text(b"{%b}" % b",".join(fields)))
            for path, fields in self._unnamed.items()
        ]
        return b"{%b}" % b",".join(self._members + unnamed)


def _encoded(raw: bytes) -> bytes:
    return as_text(raw) if needs_text(raw) else raw
