"""The lasting deviations of a topic from the documented service, which `Emulator.deviate` sets."""

from __future__ import annotations

import time
from collections import deque
from typing import Literal

import msgspec

from workato_streams_emulator.store import Row, Store


class Deviations(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a topic does differently, in all requests until it is changed.

    Attributes:
        readable_after_secs: The delay after which a new message can be consumed. Until then, its
            id is rejected as a position.
        repeat_every: Each n-th message is delivered twice; 0: none.
        repeat_in: Whether it is repeated in the same page, or at the start of the next page.
        reverse_batches: Whether the messages of a batch are stored in reverse order.
        publish_ids_are_positions: Whether the ids in a publish response are those of consume.
            Otherwise, consume rejects them.
    """

    readable_after_secs: float = 0.0
    repeat_every: int = 0
    repeat_in: Literal["same_page", "next_page"] = "same_page"
    reverse_batches: bool = False
    publish_ids_are_positions: bool = True

    def published_id(self, message_id: str) -> str:
        """Return the id in the publish response."""
        return message_id if self.publish_ids_are_positions else f"P{message_id}"

    def repeats(self, rows: list[Row], store: Store) -> list[Row]:
        """Return the messages of a page that are delivered twice."""
        return [row for row in rows if (store.position_of(row[0]) or 0) % self.repeat_every == 0]


class Unreadable:
    """The messages of a topic that cannot be consumed yet."""

    def __init__(self) -> None:
        # The time from which a message and those after it can be read, and its position.
        self._waiting: deque[tuple[float, int]] = deque()

    def add(self, position: int, secs: float) -> None:
        """Delay a message, and those that are stored together with it, by `secs`."""
        self._waiting.append((time.monotonic() + secs, position))

    def first(self) -> tuple[int, float] | None:
        """Return the position of the first one, and the seconds until it can be consumed."""
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            self._waiting.popleft()
        if not self._waiting:
            return None
        at, position = self._waiting[0]
        return position, at - now
