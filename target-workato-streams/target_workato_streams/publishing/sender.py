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
    from collections.abc import Callable, Iterator, Sequence

    from ..exactly_once.run import TopicPosition
    from .client import PublishClient
    from .context import PublishContext
    from .messages import OutgoingMessage

    Row = tuple[str | bytes, ...]
    Publish = Callable[[Sequence[OutgoingMessage]], Iterator[Published | Rejected]]

_sequence = attrgetter("sequence")


def publish_in_row_order(
    messages: Sequence[OutgoingMessage], publish: Publish
) -> Iterator[Published | Rejected]:
    """Publish a batch; if a retried message comes after a newer version, publish that once more.

    Args:
        messages: The messages, in order.
        publish: Publishes messages, with exactly one outcome for each.

    Yields:
        One outcome for each message, after the newest version of its row is the last one.
    """
    outcomes = publish(messages)
    first = next(outcomes)
    if isinstance(first, Published) and len(first.messages) == len(messages):
        yield first
        return
    rows = _Rows(messages)
    for outcome in chain([first], outcomes):
        if isinstance(outcome, Published):
            if free := rows.accept(outcome.messages):
                yield Published(free)
        else:
            rows.reject(outcome.message)
            # A rejected message may end the run.
            yield from _settle(rows, publish)
            yield outcome
    yield from _settle(rows, publish)


def _settle(rows: _Rows, publish: Publish) -> Iterator[Published | Rejected]:
    in_order, overtaken = rows.take_settled()
    if in_order:
        yield Published(in_order)
    if overtaken:
        yield from _publish_newest(overtaken, publish)


def _publish_newest(
    overtaken: list[list[OutgoingMessage]], publish: Publish
) -> Iterator[Published | Rejected]:
    """Publish the newest version of each row, given all accepted versions, once more."""
    rows = {_newest(row): row for row in overtaken}
    for outcome in publish(sorted(rows, key=_sequence)):
        if isinstance(outcome, Published):
            yield Published([each for message in outcome.messages for each in rows[message]])
            continue
        others = [each for each in rows[outcome.message] if each is not outcome.message]
        if others[-1] is _newest(others):
            yield Published(others)
        else:
            yield from _publish_newest([others], publish)
        yield outcome


class _Rows:
    """The rows of a batch that was only partly accepted."""

    def __init__(self, messages: Sequence[OutgoingMessage]) -> None:
        self._rows = {message.sequence: _row(message) for message in messages}
        self._pending = {message.sequence for message in messages}
        # The accepted versions, in topic order, of rows whose newest version is not the last one.
        self._held: dict[Row, list[OutgoingMessage]] = {}

    def accept(self, messages: Sequence[OutgoingMessage]) -> list[OutgoingMessage]:
        """Record accepted messages, in topic order.

        Returns:
            The messages whose rows have no versions that are still retried.
        """
        free = []
        for message in messages:
            self._pending.discard(message.sequence)
        for message in messages:
            row = self._rows[message.sequence]
            if row is not None and (row in self._held or self._has_older(row, message)):
                self._held.setdefault(row, []).append(message)
            else:
                free.append(message)
        return free

    def reject(self, message: OutgoingMessage) -> None:
        """Record a rejected message."""
        self._pending.discard(message.sequence)

    def take_settled(self) -> tuple[list[OutgoingMessage], list[list[OutgoingMessage]]]:
        """Return the rows that have no pending versions.

        Returns:
            The messages of rows that end with the newest version, and the other rows.
        """
        pending = {self._rows[sequence] for sequence in self._pending}
        in_order: list[OutgoingMessage] = []
        overtaken = []
        for row in [row for row in self._held if row not in pending]:
            held = self._held.pop(row)
            if held[-1] is _newest(held):
                in_order += held
            else:
                overtaken.append(held)
        return in_order, overtaken

    def _has_older(self, row: Row, message: OutgoingMessage) -> bool:
        return any(
            sequence < message.sequence and self._rows[sequence] == row
            for sequence in self._pending
        )


def _newest(messages: Sequence[OutgoingMessage]) -> OutgoingMessage:
    return max(messages, key=_sequence)


def _row(message: OutgoingMessage) -> Row | None:
    """Return a key that identifies the row of a message; None if the row has no key."""
    stream, text = message.mapped or message.record[:2]
    key = row_key(text, stream)
    return (stream.name, *key) if key and b"null" not in key else None


# With these responses, the service has not applied the request.
NOT_APPLIED = frozenset({425, 429})
# A single message may be the cause; the others are accepted without it.
MESSAGE_STATUSES = frozenset({400, 413, 422})
# After this many consecutive rejections, messages are sent one by one until one is accepted:
# bisecting a batch in which all messages are bad would cost two requests per message.
STREAK = 2


class _Request(NamedTuple):
    """Messages that are sent in one request.

    Attributes:
        messages: The messages, in order.
        attempts: The number of requests that contained them, including this one.
        entry_tries: The same, but only after an entry of theirs has failed.
        failed_at: The time of their first failure, on the monotonic clock.
    """

    messages: Sequence[OutgoingMessage]
    attempts: int = 1
    entry_tries: int = 1
    failed_at: float | None = None

    def split(self, index: int) -> tuple[_Request, _Request]:
        left, right = self.messages[:index], self.messages[index:]
        return self._replace(messages=left), self._replace(messages=right)

    def halves(self) -> tuple[_Request, _Request]:
        return self._replace(attempts=self.attempts + 1).split((len(self.messages) + 1) // 2)


class BatchSender:
    """Publishes the batches of one worker.

    Args:
        client: The client of the topic.
        context: The context that the producers of all topics share.
        position: Reads the topic before messages are resent, with `exactly_once`.

    Attributes:
        failing: Whether the last request failed, and is being retried.
        tally: The counts of this worker.
    """

    def __init__(
        self,
        client: PublishClient,
        context: PublishContext,
        position: TopicPosition | None = None,
    ) -> None:
        self.failing = False
        self.tally = Tally()
        self._client = client
        self._context = context
        self._position = position
        self._sent = False
        self._in_doubt: set[int] = set()

    def publish(self, messages: Sequence[OutgoingMessage]) -> Iterator[Published | Rejected]:
        """Publish messages; unless an exception is raised, each has exactly one outcome.

        Yields:
            The outcomes, as soon as they are known.

        Raises:
            ServiceError: A whole request failed, and bisecting would not help.
            Stopped: The run is being stopped.
        """
        self._sent = self.failing = False
        self._in_doubt.clear()
        pending = [_Request(messages)]
        held: list[Rejected] = []
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
                held.append(Rejected(request.messages[0], exc.reason, exc.status, request.attempts))
            else:
                streak = 0
                if accepted := result.accepted(request.messages):
                    yield Published(accepted, self._position.last if self._position else None)
                held += self._retry_failed(request, result, pending)
            # A rejected message may end the run, so the outcomes before it are reported first.
            first = min((each.messages[0].sequence for each in pending), default=math.inf)
            yield from [each for each in held if each.message.sequence < first]
            held = [each for each in held if each.message.sequence > first]

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
            pending.append(
                _Request(retried, request.attempts + 1, request.entry_tries + 1, failed_at)
            )
        if unknown := [request.messages[index] for index in result.unknown]:
            pending.append(request._replace(messages=unknown, attempts=request.attempts + 1))
        return rejected

    def _send(self, messages: Sequence[OutgoingMessage]) -> PublishResult:
        """Send one request.

        Raises:
            ServiceError: None of the messages is acknowledged.
        """
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
            if _may_be_applied(exc) or (position is not None and _was_sent(exc)):
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


def _may_be_applied(exc: Unavailable) -> bool:
    """Whether a request that failed with this error may have been applied."""
    throttled = exc.status == 503 and exc.retry_after is not None
    return _was_sent(exc) and not throttled


def _was_sent(exc: Unavailable) -> bool:
    """Whether a request that failed with this error was sent, and was not rate limited."""
    return exc.sent and exc.status not in NOT_APPLIED
