"""Publishes a batch: bisects, retries and rejects, and keeps the versions of a row in order.

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
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import NamedTuple

from ..delivery import Delivery
from ..delivery.records import PublishResult
from ..event_streams.errors import RequestRejected, Unavailable
from ..message_key import row_key
from .client import PublishClient
from .context import PublishContext
from .messages import OutgoingMessage, Published, Rejected

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
    not_before: float = 0.0  # time at which to send them, on the same clock

    def split(self, index: int) -> tuple[_Request, _Request]:
        left, right = self.messages[:index], self.messages[index:]
        return self._replace(messages=left), self._replace(messages=right)


_sequence = attrgetter("sequence")


class _Batch:
    """The progress of one batch: what is still to be sent, and which outcomes to report."""

    def __init__(self, messages: Sequence[OutgoingMessage]) -> None:
        self._pending = [_Request(messages)]  # the last one is sent next
        self._accepted: list[OutgoingMessage] = []  # not reported yet, in topic order
        self._rejected: list[Rejected] = []  # likewise
        self._is_in_order = True  # whether no message has been retried after a later one
        self._streak = 0  # consecutive rejections
        self.has_sent = False  # whether its first request, with all messages, has been sent
        self._in_doubt: set[int] = set()  # sequence numbers of messages that may have arrived

    def next_request(self) -> _Request | None:
        """Return the next request; None if all messages have an outcome."""
        if not self._pending:
            return None
        request = self._pending.pop()
        if self._streak >= STREAK and len(request.messages) > 1:
            request, rest = request.split(1)
            self._pending.append(rest)
        return request

    def add_in_doubt(self, messages: Sequence[OutgoingMessage]) -> int:
        """Add messages that may have arrived; return how many were not in doubt before."""
        new = {message.sequence for message in messages} - self._in_doubt
        self._in_doubt |= new
        return len(new)

    def on_rejection(self, request: _Request, error: RequestRejected) -> None:
        """Bisect a rejected request, unless it has only one message."""
        if len(request.messages) > 1:
            again = request._replace(attempts=request.attempts + 1)
            self._pending.extend(reversed(again.split((len(again.messages) + 1) // 2)))
            return
        streak, message = self._streak, request.messages[0]
        rejected = Rejected(message, error.reason, error.status, request.attempts)
        self.on_response(request, [rejected], [])
        self._streak = streak + 1

    def on_response(
        self, request: _Request, rejected: Sequence[Rejected], retries: Sequence[_Request]
    ) -> None:
        """Add the outcomes of a request, whose other messages were accepted."""
        gone = {each.message for each in rejected}
        others = gone.union(*(each.messages for each in retries))
        self._accepted += [each for each in request.messages if each not in others]
        # A message that was accepted may be rejected when it is sent once more.
        self._accepted = [each for each in self._accepted if each not in gone]
        self._rejected += rejected
        self._pending += retries
        self._is_in_order = self._is_in_order and not retries
        self._streak = 0

    def pop_accepted(self) -> Sequence[OutgoingMessage]:
        """Return the accepted messages whose rows end with their newest version.

        If a retried message was accepted after a newer version of its row, that one has to be sent
        once more.
        """
        if self._is_in_order:
            settled, self._accepted = self._accepted, []
            return settled
        rows: dict[Row, list[OutgoingMessage]] = {}
        for message in self._accepted:
            rows.setdefault(_row(message), []).append(message)
        waiting: dict[Row, int] = {}
        for message in chain.from_iterable(request.messages for request in self._pending):
            row = _row(message)
            waiting[row] = min(message.sequence, waiting.get(row, message.sequence))
        settled, again = [], []
        for row, versions in rows.items():
            newest = max(versions, key=_sequence)
            if newest is versions[-1] and waiting.get(row, math.inf) > newest.sequence:
                settled += dict.fromkeys(versions)
            elif row not in waiting:
                again.append(newest)
        if again:
            self._pending.append(_Request(sorted(again, key=_sequence)))
        gone = set(settled)
        self._accepted = [message for message in self._accepted if message not in gone]
        return settled

    def pop_rejected(self) -> Sequence[Rejected]:
        """Return the rejected messages before which all messages have been reported.

        A rejected message may end the run, so the outcomes before it are reported first.
        """
        others = chain(self._accepted, *(request.messages for request in self._pending))
        first = min(map(_sequence, others), default=math.inf)
        reported = [each for each in self._rejected if each.message.sequence < first]
        self._rejected = [each for each in self._rejected if each.message.sequence >= first]
        return reported


class BatchSender:
    """Publishes the batches of one worker."""

    def __init__(
        self,
        client: PublishClient,
        context: PublishContext,
        delivery: Delivery[OutgoingMessage],
    ) -> None:
        self.failing = False  # whether the last request failed and is being retried
        self.tally = client.tally
        self._client = client
        self._context = context
        self._delivery = delivery

    def publish(self, messages: Sequence[OutgoingMessage]) -> Iterator[Published | Rejected]:
        """Publish messages, and yield exactly one outcome of each as soon as it is known.

        Raises `ServiceError` if a whole request failed and bisecting would not help, and `Stopped`
        if the run is being stopped.
        """
        self.failing = False
        batch = _Batch(messages)
        while request := batch.next_request():
            # Only here, because what was acknowledged has been reported by now: a kill during the
            # wait does not duplicate it.
            if (wait := request.not_before - time.monotonic()) > 0:
                self._mark_failing()
                self._context.limiter.sleep(wait)
            send = partial(self._send, batch, request.messages)
            try:
                failed, unknown = self._client.session.retry(send)
            except RequestRejected as exc:
                if exc.status not in MESSAGE_STATUSES:
                    raise
                batch.on_rejection(request, exc)
            else:
                batch.on_response(request, *self._sort_failed(request, failed, unknown))
            if accepted := batch.pop_accepted():
                yield Published(accepted, sum(map(self._delivery.is_unchanged, accepted)))
            yield from batch.pop_rejected()

    def _sort_failed(
        self,
        request: _Request,
        failed: Mapping[OutgoingMessage, str],
        unknown: Sequence[OutgoingMessage],
    ) -> tuple[list[Rejected], list[_Request]]:
        """Return the rejected messages, and the requests that resend the others."""
        failed_at = request.failed_at or time.monotonic()
        attempts = request.attempts + 1
        rejected, retried, retries = [], [], []
        for message, reason in failed.items():
            if self._context.entry_retries.record_failure(reason, failed_at, request.entry_tries):
                retried.append(message)
            else:
                rejected.append(Rejected(message, reason, 200, request.attempts))
        if retried:
            not_before = self._context.entry_retries.next_try_at(request.entry_tries)
            tries = request.entry_tries + 1
            retries.append(_Request(retried, attempts, tries, failed_at, not_before))
        if unknown:
            retries.append(request._replace(messages=unknown, attempts=attempts))
        return rejected, retries

    def _send(
        self, batch: _Batch, messages: Sequence[OutgoingMessage]
    ) -> tuple[Mapping[OutgoingMessage, str], Sequence[OutgoingMessage]]:
        """Send one request; return the failed messages with their reasons, and the unknown ones.

        If it raises `ServiceError`, no message is acknowledged.
        """
        missing = self._delivery.missing(messages)
        if not missing:
            return {}, ()
        self.tally.resent += len(missing) if batch.has_sent else 0
        batch.has_sent = True
        try:
            result = self._client.publish([message.body for message in missing])
        except RequestRejected as exc:
            self._delivery.on_response(
                missing, PublishResult(dict.fromkeys(range(len(missing)), exc.reason))
            )
            raise
        except Unavailable as exc:
            self._mark_failing()
            # With 425 and 429, the service has not applied the request.
            if exc.sent and exc.status not in {425, 429}:
                is_throttled = exc.status == 503 and exc.retry_after is not None
                if self._delivery.on_lost(missing, is_throttled=is_throttled):
                    self.tally.possibly_duplicated += batch.add_in_doubt(missing)
            raise
        self.failing = False
        unknown = [missing[index] for index in result.unknown]
        if unknown and self._delivery.on_lost(unknown, is_throttled=False):
            self.tally.possibly_duplicated += batch.add_in_doubt(unknown)
        if not self._delivery.on_response(missing, result):
            self._mark_failing()
            raise self._client.not_understood(len(unknown) or len(missing), len(missing))
        return {missing[index]: reason for index, reason in result.failed.items()}, unknown

    def _mark_failing(self) -> None:
        self.failing = True
        # The main thread need not wait for a topic that fails.
        self._context.wakeup.call()


def _row(message: OutgoingMessage) -> Row:
    """Identify the row of a message; without a key, a message is a row of its own."""
    stream, text = message.mapped or (message.record.stream, message.record.text)
    key = row_key(text, stream)
    return (stream.name, *key) if key and b"null" not in key else (message.sequence,)
