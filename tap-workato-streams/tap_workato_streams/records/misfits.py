"""Values that do not fit the columns: how they are rescued, counted and reported."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..plugin.wording import shown
from .json_values import as_text, needs_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Path

NULL = b"null"
# Limits the number of counted fields, since payloads may have ids as field names.
MAX_FIELDS = 20


class Misfit(NamedTuple):
    """A value that does not fit the columns.

    ``name`` is only set for a field whose name no database can store; ``path`` is then the path of
    its object.
    """

    path: Path
    raw: bytes
    is_unknown: bool
    name: str | None = None


def pointer(path: Path) -> str:
    """Return the JSON Pointer (RFC 6901) to a field of the payload."""
    return "".join("/" + name.replace("~", "~0").replace("/", "~1") for name in path)


def rescued_object(misfits: Sequence[Misfit]) -> bytes:
    """Build the object `_rescued`, which maps JSON Pointers to values that do not fit the columns.

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


def schema_problem(misfit: Misfit) -> str:
    """Return the problem of a message with a value that does not fit."""
    reason = "is not in the schema" if misfit.is_unknown else "does not fit the schema"
    return f"{shown(pointer(misfit.path)) or 'its payload'} {reason}"


def key_problem(name: str, *, is_misfit: bool | None) -> str:
    """Return the problem of a message without a key property.

    Args:
        name: The key property.
        is_misfit: Whether its value does not fit the column; None if this is unknown.
    """
    about = f"{name}, which is a key property"
    if is_misfit:
        problem = f"its value for {about}, does not fit the column"
    else:
        problem = f"it has no {'valid ' if is_misfit is None else ''}value for {about}"
    return f"{problem}; remove such messages with a __filter__ in stream_maps"


class MisfitCounts:
    """The number of values of each field that did not fit the columns, without nulls."""

    def __init__(self) -> None:
        # None counts the values of all fields after the first ones.
        self._counts: Counter[Path | None] = Counter()

    def add(self, misfits: Sequence[Misfit]) -> None:
        """Count the misfits of a message."""
        for path, raw, *_ in misfits:
            if raw != NULL:
                is_named = path in self._counts or len(self._counts) < MAX_FIELDS
                self._counts[path if is_named else None] += 1

    def __str__(self) -> str:
        """Return a text such as `/total (12), /note (1)`; empty if all values fit."""
        return ", ".join(f"{_name(path)} ({count:,})" for path, count in self._counts.items())


def _name(path: Path | None) -> str:
    if path is None:
        return "other fields"
    return shown(pointer(path)) or "the payload"
