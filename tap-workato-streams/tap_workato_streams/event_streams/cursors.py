"""Detects cursors that make no progress: their message has expired, or pages are repeated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .consume import EARLIEST
from .errors import EventStreamsError, RequestRejected

if TYPE_CHECKING:
    from collections.abc import Callable

    from .consume import Cursor, Messages

# The statuses that a cursor may cause. The token or the quota is the cause of all other 4xx
# (contract: "What is undocumented, and what to assume").
MAY_BE_THE_CURSOR = frozenset(range(400, 500)) - {401, 403, 408, 429}


class CursorExpired(RequestRejected):
    """The message of a cursor has expired or was purged.

    Attributes:
        until: The time of the earliest message that is left; ``now`` if there is none.
    """

    until = "now"


def consume_again(
    cursor: Cursor,
    batch_size: int,
    rejection: RequestRejected,
    consume: Callable[[Cursor, int], Messages],
) -> Messages:
    """Repeat a request that was rejected, if its cursor may be the cause.

    The API does not document the status for an expired message id. If a request succeeds without
    the cursor, and is rejected again with it, the message has expired or was purged. Otherwise, the
    topic was the cause, or the rejection was transient.

    Args:
        cursor: The cursor of the request.
        batch_size: The maximum number of messages.
        rejection: The response to the request.
        consume: Requests the messages after a cursor, at most as many as its second argument.

    Returns:
        The messages after the cursor, because the rejection was transient.

    Raises:
        CursorExpired: The message of the cursor no longer exists.
        RequestRejected: The cursor is not the cause of the rejection.
        ServiceError: One of the two requests failed for another reason.
    """
    if cursor.after_message_id is None or rejection.status not in MAY_BE_THE_CURSOR:
        raise rejection
    try:
        earliest = consume(EARLIEST, 1).messages
    except RequestRejected:
        raise rejection from None
    try:
        return consume(cursor, batch_size)
    except RequestRejected as again:
        if again.status not in MAY_BE_THE_CURSOR:
            raise
        expired = CursorExpired(str(again), status=again.status, reason=again.reason)
        expired.until = earliest[0].time if earliest else "now"
        raise expired from None


class Repetition:
    """Detects a service that repeats pages, without remembering all pages (Brent's algorithm).

    It remembers one page at a time, and replaces it after twice as many pages as before.
    """

    def __init__(self) -> None:
        self._remembered: str | None = None
        self._pages = 0
        self._remember_for = 1

    def check(self, subject: str, after: str | None, last: str) -> None:
        """Check that a page makes progress.

        Args:
            subject: What the error begins with, such as ``orders (topic 11)``.
            after: The message id that was the cursor, if one was.
            last: The id of the page's last message.

        Raises:
            EventStreamsError: The message was read before.
        """
        if last in {after, self._remembered}:
            raise EventStreamsError(
                f"{subject}: the service returned message {last} again after it was read; "
                "run again, and report this to the service's support if it persists"
            )
        self._pages += 1
        if self._pages == self._remember_for:
            self._remembered = last
            self._pages = 0
            self._remember_for *= 2
