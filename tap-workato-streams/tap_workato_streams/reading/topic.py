"""A topic to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Topic:
    """A topic to read.

    Args:
        id: The topic's id.
        name: The name of the stream.
        start_from: Where to start without a bookmark: earliest or latest.
        start_date: The time at which to start instead.
        payload_schema: The JSON Schema of the payload; None if unknown.
        is_declared: Whether the schema is declared rather than inferred from a sample.
        retention: The retention in seconds; None if unknown.
    """

    id: int
    name: str
    start_from: str
    start_date: str | None = None
    payload_schema: Mapping[str, Any] | None = None
    is_declared: bool = True
    retention: float | None = None

    def __str__(self) -> str:
        """Return the stream name and topic id for log lines and errors."""
        return f"{self.name} (topic {self.id})"
