"""Counts values that did not fit the columns, for one log line per run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plugin.wording import shown
from .rescued import pointer
from .unpacker import NULL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .columns import Path
    from .unpacker import Misfit

# Limits the number of counted fields, since payloads may have ids as field names.
MAX_FIELDS = 20


class MisfitCounts:
    """The number of values of each field that did not fit the columns, without nulls."""

    def __init__(self) -> None:
        self._counts: dict[Path, int] = {}
        self._others = 0

    def add(self, misfits: Sequence[Misfit]) -> None:
        """Count the misfits of a message."""
        for misfit in misfits:
            if misfit.raw == NULL:
                continue
            path = misfit.path
            if path in self._counts:
                self._counts[path] += 1
            elif len(self._counts) < MAX_FIELDS:
                self._counts[path] = 1
            else:
                self._others += 1

    def __str__(self) -> str:
        """Return a text such as `/total (12), /note (1)`; empty if everything fitted."""
        fields = [
            f"{shown(pointer(path)) or 'the payload'} ({count:,})"
            for path, count in self._counts.items()
        ]
        return ", ".join([*fields, *([f"other fields ({self._others:,})"] if self._others else [])])


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
