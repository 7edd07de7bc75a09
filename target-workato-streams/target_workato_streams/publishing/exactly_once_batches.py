"""Batches for `exactly_once`, in which a partial failure cannot reorder the versions of a row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from .batches import BatchBuilder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .batches import BatchSettings
    from .messages import OutgoingMessage


class ExactlyOnceBatchBuilder(BatchBuilder):
    """A batch that contains at most one record of each keyed row, and does not span a STATE.

    If a complete batch contains a STATE, it ends there, and the other messages start the next
    batch. A state can therefore be emitted as soon as the batch before it is acknowledged, when
    the topic contains no message of a later record.

    Args:
        settings: The limits of a batch.
    """

    def __init__(self, settings: BatchSettings) -> None:
        super().__init__(settings)
        self._rows: set[str] = set()
        self._before_state = 0

    @override
    def mark_state(self) -> None:
        """Mark that a STATE follows the messages so far."""
        self._before_state = len(self.messages)

    @override
    def add(self, message: OutgoingMessage) -> Sequence[list[OutgoingMessage]]:
        row = message.version.row if message.version.is_keyed else None
        complete = []
        while self.messages and (row in self._rows or not self.has_room_for(message)):
            complete.append(self.close())
        if row is not None:
            self._rows.add(row)
        return [*complete, *super().add(message)]

    @override
    def close(self) -> list[OutgoingMessage]:
        messages, end = super().close(), self._before_state
        self._rows.clear()
        self._before_state = 0
        if not 0 < end < len(messages):
            return messages
        started_at = self._started_at
        for message in messages[end:]:
            self.add(message)
        self._started_at = started_at
        return messages[:end]
