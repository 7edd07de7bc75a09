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


class Mapped(NamedTuple):
    """A record after stream maps, and its stream, whose name and key they may have changed."""

    stream: Stream
    text: bytes


class OutgoingMessage(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message to publish.

    Attributes:
        body: The JSON object to publish.
        record: The record of the message.
        sequence: The number of the message within the run.
        checkpoint: The checkpoint that waits for the message.
        version: The version in the message key, if there is one.
        mapped: The record after stream maps, which decide its row; None if nothing maps it.
    """

    body: bytes
    record: Record
    sequence: int
    checkpoint: Checkpoint
    version: RowVersion = NO_ROW_VERSION
    mapped: Mapped | None = None


class Published(NamedTuple):
    """The service acknowledged these messages.

    Attributes:
        messages: The messages.
        position: The last message of the topic that was acknowledged or read; None if the target
            does not keep positions.
    """

    messages: Sequence[OutgoingMessage]
    position: Position | None = None


class Rejected(NamedTuple):
    """The service rejected this message, or it is invalid and was not sent.

    Attributes:
        message: The message.
        reason: The reason from the service, or why the message was not sent.
        status: The HTTP status; None if the message was not sent.
        attempts: The number of requests that contained it, not counting retries of a request.
    """

    message: OutgoingMessage
    reason: str
    status: int | None = None
    attempts: int = 0


class Failed(NamedTuple):
    """The run cannot continue.

    Attributes:
        error: The reason.
        rejected: The rejected message that ends the run, if that is the reason.
    """

    error: Exception
    rejected: Rejected | None = None


Outcome = Published | Rejected | Failed
