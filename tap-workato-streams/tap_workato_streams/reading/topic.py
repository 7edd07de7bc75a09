"""A topic to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Topic:
    """A topic to read; ``retention`` is in seconds, None if unknown."""

    id: int
    name: str
    start_from: str
    start_date: str | None = None
    payload_schema: Mapping[str, Any] | None = None
    retention: float | None = None

    def __str__(self) -> str:
        """Return the name for log lines and errors."""
        return f"{self.name} (topic {self.id})"
