"""Publishes batches, handles the responses, and keeps the versions of a row in order.

response                        action
--------                        ------
success for all                 published
partial error                   failed entries are retried separately with backoff, then rejected
                                (see `EntryRetries`); the others are published
success without some entries    these may have arrived, so they are resent separately
400, 413, 422                   bisected, the left half first, down to the rejected messages
other 4xx                       raised: a setting is wrong
408, 425, 429, 5xx, no response retried within ``max_retry_secs``, then raised
"""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from ..event_streams.errors import RequestRejected, Unavailable
from ..message_key import row_key
from .client import PublishResult
from .messages import Published, Rejected
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..exactly_once.run import TopicPosition
    from .client import PublishClient
    from .context import PublishContext
    from .messages import OutgoingMessage

    Row = tuple[str | bytes | int, ...]

# A single message may be the cause; the others are accepted without it.
MESSAGE_STATUSES = frozenset({400, 413, 422})
# After this many consecutive rejections, messages are sent one by one until one is accepted:
# bisecting a batch in which all messages are bad would cost two requests per message.
STREAK = 2


class _Request(NamedTuple):
    """Messages that are sent in one request, in order."""

    messages: Sequence[OutgoingMessage]
    attempts: int = 1  # requests that contained them, including this one
    entry_tries: int = 1  # the same, but only after an entry of theirs has failed
    failed_at: float | None = None  # time of their first failure, on the monotonic clock

    def split(self, index: int) -> tuple[_Request, _Request]:
        left, right = self.messages[:index], self.messages[index:]
        return self._replace(messages=left), self._replace(messages=right)

    def halves(self) -> tuple[_Request, _Request]:
        return self._replace(attempts=self.attempts + 1).split((len(self.messages) + 1) // 2)


class BatchSender:
    """Publishes the batches of one worker; a position reads the topic before it resends any."""

    def __init__(
        self, client: PublishClient, context: PublishContext, position: TopicPosition | None = None
    ) -> None:
        self.failing = False  # whether the last request failed and is being retried
        self.tally = Tally()
        self._client = client
        self._context = context
        self._position = position
        self._sent = False
        self._in_doubt: set[int] = set()

    def publish(self, messages: Sequence[OutgoingMessage]) -> Iterator[Published | Rejected]:
        """Publish messages, and yield exactly one outcome of each as soon as it is known.

        Raises `ServiceError` if a whole request failed and bisecting would not help, and `Stopped`
        if the run is being stopped.
        """
        self._sent = self.failing = False
        self._in_doubt.clear()
        pending = [_Request(messages)]
        accepted: list[OutgoingMessage] = []
        rejected: list[Rejected] = []
        is_in_order = True
        streak = 0
        while pending:
            request = pending.pop()
            if streak >= STREAK and len(request.messages) > 1:
                request, rest = request.split(1)
                pending.append(rest)
            try:
                result = self._client.session.retry(partial(self._send, request.messages))
            except RequestRejected as exc:
                if exc.status not in MESSAGE_STATUSES:
                    raise
                if len(request.messages) > 1:
                    pending.extend(reversed(request.halves()))
                    continue
                streak += 1
                message = request.messages[0]
                new = [Rejected(message, exc.reason, exc.status, request.attempts)]
            else:
                streak = 0
                accepted += result.accepted(request.messages)
                is_in_order = is_in_order and not (result.failed or result.unknown)
                new = self._retry_failed(request, result, pending)
            if is_in_order:
                settled, accepted = accepted, []
            else:
                gone = {each.message.sequence for each in new}
                accepted = [each for each in accepted if each.sequence not in gone]
                settled = _take_settled(accepted, pending)
            if settled:
                yield Published(settled, self._position.last if self._position else None)
            # A rejected message may end the run, so the outcomes before it are reported first.
            rejected += new
            first = min((each.messages[0].sequence for each in pending), default=math.inf)
            yield from [each for each in rejected if each.message.sequence < first]
            rejected = [each for each in rejected if each.message.sequence > first]

    def _retry_failed(
        self, request: _Request, result: PublishResult, pending: list[_Request]
    ) -> list[Rejected]:
        """Retry the messages that were not accepted, or return them as rejected."""
        failed_at = request.failed_at or time.monotonic()
        rejected, retried = [], []
        for index, reason in sorted(result.failed.items()):
            message = request.messages[index]
            if self._context.entry_retries.may_retry(reason, failed_at, request.entry_tries):
                retried.append(message)
            else:
                rejected.append(Rejected(message, reason, 200, request.attempts))
        if retried:
            self._fail()
            self._context.entry_retries.wait(request.entry_tries)
            tries = request.entry_tries + 1
            pending.append(_Request(retried, request.attempts + 1, tries, failed_at))
        if unknown := [request.messages[index] for index in result.unknown]:
            pending.append(request._replace(messages=unknown, attempts=request.attempts + 1))
        return rejected

    def _send(self, messages: Sequence[OutgoingMessage]) -> PublishResult:
        """Send one request; if it raises `ServiceError`, no message is acknowledged."""
        position = self._position
        missing = messages if position is None else position.missing(messages)
        if not missing:
            return PublishResult({})
        if self._sent:
            self.tally.resent += len(missing)
        self._sent = True
        try:
            result = self._client.publish([message.body for message in missing], self.tally)
        except Unavailable as exc:
            self._fail()
            # With 425 and 429, the service has not applied the request. That is likely if it sends
            # a 503 with Retry-After, but with a position, the topic is read to be sure.
            is_throttled = exc.status == 503 and exc.retry_after is not None
            may_be_applied = exc.sent and exc.status not in {425, 429}
            if may_be_applied and (position is not None or not is_throttled):
                self._count_in_doubt(missing)
            raise
        self.failing = False
        if result.unknown:
            self._count_in_doubt([missing[index] for index in result.unknown])
            if position is not None or len(result.unknown) == len(missing):
                self._fail()
                raise self._client.not_understood(len(result.unknown), len(missing))
        if (
            position is not None
            and result.accepted(missing)
            and not position.acknowledge(result.last_message_id, result.time)
        ):
            self._fail()
            raise self._client.not_understood(len(missing), len(missing))
        if len(missing) == len(messages):
            return result
        indices = {message.sequence: index for index, message in enumerate(messages)}
        failed = {indices[missing[i].sequence]: reason for i, reason in result.failed.items()}
        return result._replace(failed=failed)

    def _fail(self) -> None:
        self.failing = True
        # The main thread need not wait for a topic that fails.
        self._context.wakeup.call()

    def _count_in_doubt(self, messages: Sequence[OutgoingMessage]) -> None:
        """Count messages that may have arrived without an acknowledgement, each of them once."""
        if self._position is not None:
            self._position.mark_in_doubt()
            return
        in_doubt = {message.sequence for message in messages}
        self.tally.possibly_duplicated += len(in_doubt - self._in_doubt)
        self._in_doubt |= in_doubt


_sequence = attrgetter("sequence")


def _take_settled(
    accepted: list[OutgoingMessage], pending: list[_Request]
) -> list[OutgoingMessage]:
    """Take the messages whose rows end with their newest version out of the accepted ones.

    These are the messages of a batch that were accepted but not reported, in topic order. If a
    retried message was accepted after a newer version of its row, the newest version is published
    once more.
    """
    rows: dict[Row, list[OutgoingMessage]] = {}
    for message in accepted:
        rows.setdefault(_row(message), []).append(message)
    waiting: dict[Row, int] = {}
    for message in chain.from_iterable(request.messages for request in pending):
        row = _row(message)
        waiting[row] = min(message.sequence, waiting.get(row, message.sequence))
    settled: dict[OutgoingMessage, None] = {}
    again = []
    for row, versions in rows.items():
        newest = max(versions, key=_sequence)
        if newest is versions[-1] and waiting.get(row, math.inf) > newest.sequence:
            settled |= dict.fromkeys(versions)
        elif row not in waiting:
            again.append(newest)
    if again:
        pending.append(_Request(sorted(again, key=_sequence)))
    accepted[:] = [message for message in accepted if message not in settled]
    return list(settled)


def _row(message: OutgoingMessage) -> Row:
    """Identify the row of a message; without a key, a message is a row of its own."""
    stream, text = message.mapped or (message.record.stream, message.record.text)
    key = row_key(text, stream)
    return (stream.name, *key) if key and b"null" not in key else (message.sequence,)
