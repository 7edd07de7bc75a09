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
from .client import PublishResult
from .lost_responses import may_be_applied, was_sent
from .message_key import row_key
from .messages import Published, Rejected
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .client import PublishClient
    from .context import PublishContext
    from .lost_responses import LostResponses
    from .messages import Message

    Publish = Callable[[Sequence[Message]], Iterator[Published | Rejected]]

_sequence = attrgetter("sequence")


def publish_in_row_order(
    messages: Sequence[Message], publish: Publish
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
    overtaken: list[list[Message]], publish: Publish
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

    def __init__(self, messages: Sequence[Message]) -> None:
        self._rows = {message.sequence: _row(message) for message in messages}
        self._pending = {message.sequence for message in messages}
        # The accepted versions, in topic order, of rows whose newest version is not the last one.
        self._held: dict[tuple[str, ...], list[Message]] = {}

    def accept(self, messages: Sequence[Message]) -> list[Message]:
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

    def reject(self, message: Message) -> None:
        """Record a rejected message."""
        self._pending.discard(message.sequence)

    def take_settled(self) -> tuple[list[Message], list[list[Message]]]:
        """Return the rows that have no pending versions.

        Returns:
            The messages of rows that end with the newest version, and the other rows.
        """
        pending = {self._rows[sequence] for sequence in self._pending}
        in_order: list[Message] = []
        overtaken = []
        for row in [row for row in self._held if row not in pending]:
            held = self._held.pop(row)
            if held[-1] is _newest(held):
                in_order += held
            else:
                overtaken.append(held)
        return in_order, overtaken

    def _has_older(self, row: tuple[str, ...], message: Message) -> bool:
        return any(
            sequence < message.sequence and self._rows[sequence] == row
            for sequence in self._pending
        )


def _newest(messages: Sequence[Message]) -> Message:
    return max(messages, key=_sequence)


def _row(message: Message) -> tuple[str, ...] | None:
    """Return a key that identifies the row of a message; None if the row has no key."""
    stream, text = message.mapped or message.record[:2]
    key = row_key(text, stream)
    return None if key is None else (stream.name, *(value.decode() for value in key))


# A single message may be the cause; the others are accepted without it.
MESSAGE_STATUSES = frozenset({400, 413, 422})
# After this many consecutive rejections, messages are sent one by one until one is accepted:
# bisecting a batch in which all messages are bad would cost two requests per message.
STREAK = 2


class _Part(NamedTuple):
    messages: Sequence[Message]
    attempts: int = 1
    entry_tries: int = 1
    failed_at: float | None = None

    def split(self, index: int) -> tuple[_Part, _Part]:
        left, right = self.messages[:index], self.messages[index:]
        return self._replace(messages=left), self._replace(messages=right)

    def halves(self) -> tuple[_Part, _Part]:
        return self._replace(attempts=self.attempts + 1).split((len(self.messages) + 1) // 2)


class BatchSender:
    """Publishes the batches of one worker.

    Args:
        client: The client of the topic.
        context: The context that the producers of all topics share.
        lost_responses: Looks up the topic before messages are resent, with `exactly_once`.

    Attributes:
        failing: Whether the last request failed, and is being retried.
        tally: The counts of this worker.
    """

    def __init__(
        self,
        client: PublishClient,
        context: PublishContext,
        lost_responses: LostResponses | None = None,
    ) -> None:
        self.failing = False
        self.tally = Tally()
        self._client = client
        self._context = context
        self._lost_responses = lost_responses
        self._sent = False
        self._doubtful: set[int] = set()

    def publish(self, messages: Sequence[Message]) -> Iterator[Published | Rejected]:
        """Publish messages; unless an exception is raised, each has exactly one outcome.

        Yields:
            The outcomes, as soon as they are known.

        Raises:
            ServiceError: A whole request failed, and bisecting would not help.
            Stopped: The run is being stopped.
        """
        self._sent = self.failing = False
        self._doubtful.clear()
        pending = [_Part(messages)]
        held: list[Rejected] = []
        streak = 0
        while pending:
            part = pending.pop()
            if streak >= STREAK and len(part.messages) > 1:
                part, rest = part.split(1)
                pending.append(rest)
            try:
                result = self._client.session.retry(partial(self._send, part.messages))
            except RequestRejected as exc:
                if exc.status not in MESSAGE_STATUSES:
                    raise
                if len(part.messages) > 1:
                    pending.extend(reversed(part.halves()))
                    continue
                streak += 1
                held.append(Rejected(part.messages[0], exc.reason, exc.status, part.attempts))
            else:
                streak = 0
                if accepted := result.accepted(part.messages):
                    lost = self._lost_responses
                    yield Published(accepted, lost.position if lost else None)
                held += self._judge(part, result, pending)
            # A rejected message may end the run, so the outcomes before it are reported first.
            first = min((each.messages[0].sequence for each in pending), default=math.inf)
            yield from [each for each in held if each.message.sequence < first]
            held = [each for each in held if each.message.sequence > first]

    def _judge(self, part: _Part, result: PublishResult, pending: list[_Part]) -> list[Rejected]:
        """Decide about the messages that were not accepted; return the rejected ones."""
        failed_at = part.failed_at or time.monotonic()
        rejected, retried = [], []
        for index, reason in sorted(result.failed.items()):
            message = part.messages[index]
            if self._context.entry_retries.may_retry(reason, failed_at, part.entry_tries):
                retried.append(message)
            else:
                rejected.append(Rejected(message, reason, 200, part.attempts))
        if retried:
            self._fail()
            self._context.entry_retries.wait(part.entry_tries)
            pending.append(_Part(retried, part.attempts + 1, part.entry_tries + 1, failed_at))
        if unknown := [part.messages[index] for index in result.unknown]:
            pending.append(part._replace(messages=unknown, attempts=part.attempts + 1))
        return rejected

    def _send(self, messages: Sequence[Message]) -> PublishResult:
        """Send one request.

        Raises:
            ServiceError: None of the messages is acknowledged.
        """
        lost = self._lost_responses
        missing = messages if lost is None else lost.missing(messages)
        if not missing:
            return PublishResult({})
        if self._sent:
            self.tally.resent += len(missing)
        self._sent = True
        try:
            result = self._client.publish([message.body for message in missing], self.tally)
        except Unavailable as exc:
            self._fail()
            if may_be_applied(exc) or (lost is not None and was_sent(exc)):
                self._doubt(missing)
            raise
        self.failing = False
        if result.unknown:
            self._doubt([missing[index] for index in result.unknown])
            if lost is not None or len(result.unknown) == len(missing):
                self._fail()
                raise self._client.not_understood(len(result.unknown), len(missing))
        if lost is not None and not lost.acknowledge(result, missing):
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

    def _doubt(self, messages: Sequence[Message]) -> None:
        """Count messages that may have arrived without an acknowledgement, each of them once."""
        if self._lost_responses is not None:
            self._lost_responses.suspect()
            return
        doubtful = {message.sequence for message in messages}
        self.tally.possibly_duplicated += len(doubtful - self._doubtful)
        self._doubtful |= doubtful
