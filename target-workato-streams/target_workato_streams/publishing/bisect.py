"""What can go wrong with a batch, and what then: failures are narrowed down to single messages.

answer                          then
------                          ----
success for all                 published
partial error                   the successes are published; the others are sent again, only
                                they, a few times with backoff; what still fails is rejected
400, 422, 413 for all           halved, the left half first, until the bad ones stand alone
other 4xx                       raised: a setting is wrong
408, 425, 429, 5xx, no answer   retried below this level, then raised
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from ..event_streams.errors import RequestRejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .messages import Message

# A refusal that one message may have caused; the others then go through without it.
ONE_MESSAGE_CAN_CAUSE = frozenset({400, 413, 422})
ENTRY_TRIES = 3
FIRST_WAIT_SECS = 0.2


class Published(NamedTuple):
    """The service acknowledged these messages."""

    messages: Sequence[Message]


class Rejected(NamedTuple):
    """The service does not take this message, or it cannot be sent at all.

    Attributes:
        message: The message.
        reason: The service's own words, or why it was not sent.
        status: The HTTP status; None where it was not sent.
        attempts: How many requests it was in, apart from retries of the same request.
    """

    message: Message
    reason: str
    status: int | None = None
    attempts: int = 0


@dataclass(frozen=True)
class _Part:
    messages: Sequence[Message]
    attempts: int = 1
    entry_tries: int = 1

    def halves(self) -> tuple[_Part, _Part]:
        middle = (len(self.messages) + 1) // 2
        left, right = self.messages[:middle], self.messages[middle:]
        attempts = self.attempts + 1
        return _Part(left, attempts, self.entry_tries), _Part(right, attempts, self.entry_tries)


def bisect(
    messages: Sequence[Message],
    publish: Callable[[Sequence[Message]], Mapping[int, str]],
    *,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[Published | Rejected]:
    """Publish a batch; whatever happens, each message comes out once, or an error is raised.

    Args:
        messages: The messages, in order.
        publish: Sends messages in one request, and returns the reasons of those that were not
            acknowledged by their index. It raises ``RequestRejected`` or ``Unavailable`` for all.
        sleep: Waits for a number of seconds before failed entries are sent again.

    Yields:
        What became of the messages, as soon as it is known.

    Raises:
        ServiceError: What ``publish`` raised and no isolation can help. All that was not yielded
            before is not acknowledged.
    """
    pending = [_Part(messages)]
    while pending:
        part = pending.pop()
        try:
            failed = publish(part.messages)
        except RequestRejected as exc:
            if exc.status not in ONE_MESSAGE_CAN_CAUSE:
                raise
            if len(part.messages) == 1:
                yield Rejected(part.messages[0], exc.reason, exc.status, part.attempts)
            else:
                pending.extend(reversed(part.halves()))
            continue
        if not failed:
            yield Published(part.messages)
            continue
        if len(failed) < len(part.messages):
            yield Published([m for i, m in enumerate(part.messages) if i not in failed])
        if part.entry_tries < ENTRY_TRIES:
            sleep(random.uniform(0.5, 1) * FIRST_WAIT_SECS * 2**part.entry_tries)  # noqa: S311
            again = [part.messages[index] for index in sorted(failed)]
            pending.append(_Part(again, part.attempts + 1, part.entry_tries + 1))
        else:
            for index, reason in sorted(failed.items()):
                yield Rejected(part.messages[index], reason, 200, part.attempts)
