"""The `_rescued` object of a record: JSON Pointers and the values that have no column."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from .json_values import as_text, needs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Path
    from .unpacker import Misfit


def pointer(path: Path) -> str:
    """A JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rescued_object(misfits: Sequence[Misfit]) -> bytes:
    """The JSON object that keeps what has no place in the columns.

    Values are kept as they were published, or as JSON text if no database can store them. A field
    whose name no database can store is kept in the JSON text of an object, under the pointer of the
    object that it belongs to.
    """
    members: list[bytes] = []
    unnamed: dict[Path, list[bytes]] = {}
    for path, raw, _, name in misfits:
        if name is None:
            members.append(_key(path) + (as_text(raw) if needs_text(raw) else raw))
        else:
            unnamed.setdefault(path, []).append(b"%b:%b" % (json.dumps(name).encode(), raw))
    for path, fields in unnamed.items():
        members.append(_key(path) + as_text(b"{%b}" % b",".join(fields)))
    return b"{%b}" % b",".join(members)


# The same fields do not fit again and again.
@lru_cache(maxsize=1000)
def _key(path: Path) -> bytes:
    return msgspec.json.encode(pointer(path)) + b":"
