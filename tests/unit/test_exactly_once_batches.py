"""The sizes and ages of batches that are cut at a STATE."""

import time

from target_workato_streams.delivery.exactly_once.run import ExactlyOnce
from target_workato_streams.message_key import RowVersion
from target_workato_streams.publishing.batches import FRAME_BYTES, BatchBuilder, BatchSettings
from target_workato_streams.publishing.messages import OutgoingMessage
from target_workato_streams.singer_messages import Record, Stream

RECORD = Record(Stream("a"), b"{}", 1)
BODY = b'{"id":1}'


class Input:
    """Adds messages of keyed rows to a batch, and states to the rule."""

    def __init__(self, settings: BatchSettings) -> None:
        self._exactly_once: ExactlyOnce[OutgoingMessage] = ExactlyOnce(
            lambda *_args: None,  # type: ignore[arg-type] # no topic is read
        )
        self.builder = BatchBuilder(settings, self._exactly_once)
        self._sequence = 0

    def add(self, rows: str) -> list[str]:
        """Add a message for each row, and return the rows of each complete batch."""
        complete: list[list[OutgoingMessage]] = []
        for row in rows:
            self._sequence += 1
            version = RowVersion(row, "content")
            message = OutgoingMessage(BODY, RECORD, self._sequence, version)
            assert self._exactly_once.add_record(11, message)
            complete += self.builder.add(message)
        return ["".join(each.version.row for each in batch) for batch in complete]

    def add_state(self) -> None:
        """Add a STATE."""
        self._exactly_once.add_state(b'{"bookmarks":{"rows":%d}}' % self._sequence)


def test_a_batch_never_exceeds_its_size():
    """The size of the next batch includes the messages that a checkpoint left for it."""
    size = FRAME_BYTES + 4 * len(BODY) + 3
    given = Input(BatchSettings(max_bytes=size))
    assert given.add("a") == []
    given.add_state()
    assert given.add("bcdefghij") == ["a", "bcde", "fghi"]


def test_a_message_that_has_to_wait_for_a_checkpoint_keeps_its_age(monkeypatch):
    """Otherwise, it could wait twice as long as `max_batch_age_secs`."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    given = Input(BatchSettings(max_messages=3, max_age_secs=5.0))
    given.add("a")
    given.add_state()
    given.add("b")
    now = 104.0
    assert given.add("c") == ["a"]
    assert given.builder.due_at == 105.0
