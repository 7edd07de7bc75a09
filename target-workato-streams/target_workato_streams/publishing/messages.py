"""Messages to publish, and the possible outcomes of publishing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..input.messages import Record, Stream  # noqa: TC001 - msgspec reads the annotations
from ..message_key import NO_ROW_VERSION, RowVersion  # noqa: TC001 - msgspec reads the annotations
from ..state.checkpoints import Checkpoint  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..exactly_once.positions import Position


class OutgoingMessage(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message to publish."""

    body: bytes  # the JSON object to publish
    record: Record
    sequence: int  # the number of the message within the run
    checkpoint: Checkpoint  # waits for the message
    version: RowVersion = NO_ROW_VERSION  # in the message key
    # The record after stream maps, and its stream, whose name and key they may have changed.
    mapped: tuple[Stream, bytes] | None = None


class Published(NamedTuple):
    """The service acknowledged these messages."""

    messages: Sequence[OutgoingMessage]
    # The last message of the topic that was acknowledged or read, with `exactly_once`.
    position: Position | None = None


class Rejected(NamedTuple):
    """The service rejected this message, or it is invalid and was not sent."""

    message: OutgoingMessage
    reason: str
    status: int | None = None  # None if the message was not sent
    attempts: int = 0  # requests that contained it, not counting retries of a request


class Failed(NamedTuple):
    """The run cannot continue."""

    error: Exception
    rejected: Rejected | None = None  # the message that ends the run, if one does


Outcome = Published | Rejected | Failed
