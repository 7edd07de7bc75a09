"""A message on its way to a topic, and the possible outcomes of publishing it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..input.records import Record  # noqa: TC001 - msgspec reads the annotations
from ..state.checkpoints import Checkpoint  # noqa: TC001 - msgspec reads the annotations
from ..state.versions import NO_VERSION, Version  # noqa: TC001 - msgspec reads the annotations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..state.positions import Position


class Message(msgspec.Struct, frozen=True, gc=False, eq=False):
    """A message to publish.

    Attributes:
        body: The JSON object to publish.
        record: The record that it was made from.
        sequence: Its position among all messages of the run.
        checkpoint: The checkpoint that waits for it.
        version: The version of its row that its key names, if it has one.
    """

    body: bytes
    record: Record
    sequence: int
    checkpoint: Checkpoint
    version: Version = NO_VERSION


class Published(NamedTuple):
    """The service acknowledged these messages.

    Attributes:
        messages: The messages.
        position: The last message of the topic that was acknowledged or read; None if the target
            does not keep positions.
    """

    messages: Sequence[Message]
    position: Position | None = None


class Rejected(NamedTuple):
    """The service rejected this message, or it is invalid and was not sent.

    Attributes:
        message: The message.
        reason: The reason given by the service, or why the message was not sent.
        status: The HTTP status; None if the message was not sent.
        attempts: The number of requests that contained it, not counting retries of a request.
    """

    message: Message
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
