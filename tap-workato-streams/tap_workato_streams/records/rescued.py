"""The `_rescued` object of a record, which maps JSON Pointers to values without a column."""

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
    """Return the JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rescued_object(misfits: Sequence[Misfit]) -> bytes:
    """Build the JSON object with the values that do not fit the columns.

    Values are unchanged, or JSON text if no database can store them. A field whose name no database
    can store is kept in the JSON text of an object, under the pointer to the object that contains
    the field.
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


# Cached, because it is usually the same fields that do not fit.
@lru_cache(maxsize=1000)
def _key(path: Path) -> bytes:
    return msgspec.json.encode(pointer(path)) + b":"
