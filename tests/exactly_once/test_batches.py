"""Batches with `exactly_once`: rows, STATEs, sizes and ages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from target_workato_streams.input.messages import Record, Stream
from target_workato_streams.message_key import RowVersion
from target_workato_streams.publishing.batches import FRAME_BYTES, BatchSettings
from target_workato_streams.publishing.exactly_once_batches import ExactlyOnceBatchBuilder
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.state.checkpoints import Checkpoint

if TYPE_CHECKING:
    import pytest

RECORD = Record(Stream("a"), b"{}", 1)
BODY = b'{"id":1}'


def message(row: str) -> OutgoingMessage:
    """Create a message of a keyed row."""
    return OutgoingMessage(BODY, RECORD, 1, Checkpoint(), RowVersion(row, "content"))


def add(builder: ExactlyOnceBatchBuilder, rows: str) -> list[str]:
    """Add a message for each row, and return the rows of each complete batch."""
    return [
        "".join(each.version.row for each in batch)
        for row in rows
        for batch in builder.add(message(row))
    ]


def test_the_messages_after_a_state_start_the_next_batch() -> None:
    """Only the batch that spans the STATE is cut; the next one is filled."""
    builder = ExactlyOnceBatchBuilder(BatchSettings(max_messages=4))
    assert add(builder, "ab") == []
    builder.mark_state()
    assert add(builder, "cd") == ["ab"]
    assert add(builder, "efgh") == ["cdef"]
    assert add(builder, "i") == []


def test_a_batch_never_exceeds_its_size() -> None:
    """The size of the next batch includes the messages that a STATE left for it."""
    size = FRAME_BYTES + 4 * len(BODY) + 3
    builder = ExactlyOnceBatchBuilder(BatchSettings(max_bytes=size))
    assert add(builder, "a") == []
    builder.mark_state()
    assert add(builder, "bcdefghij") == ["a", "bcde", "fghi"]


def test_a_message_that_has_to_wait_for_a_state_keeps_its_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise, it could wait twice as long as `max_batch_age_secs`."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    builder = ExactlyOnceBatchBuilder(BatchSettings(max_messages=3, max_age_secs=5.0))
    add(builder, "a")
    builder.mark_state()
    add(builder, "b")
    now = 104.0
    assert add(builder, "c") == ["a"]
    assert builder.due_at == 105.0
