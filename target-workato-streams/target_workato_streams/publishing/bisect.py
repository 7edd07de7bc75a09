"""What happens to the messages of a batch, by the response to its request.

response                        action
--------                        ------
success for all                 published
partial error                   the others are published; failed entries are retried alone a few
                                times with backoff, then rejected
400, 413, 422                   bisected, the left half first, down to the rejected messages
other 4xx                       raised: a setting is wrong
408, 425, 429, 5xx, no response retried by the caller, then raised
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, NamedTuple

from ..event_streams.errors import RequestRejected
from .messages import Published, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .messages import Message

# A single message can be the reason for these; the others are accepted without it.
MESSAGE_STATUSES = frozenset({400, 413, 422})
ENTRY_TRIES = 3
FIRST_WAIT_SECS = 0.2


class _Part(NamedTuple):
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
    """Publish a batch. Each message has exactly one outcome, unless an exception is raised.

    Args:
        messages: The messages, in order.
        publish: Sends messages in one request and returns the reason of each that failed, by
            index. Raises ``RequestRejected`` or ``Unavailable`` if the whole request failed.
        sleep: Waits for a number of seconds before failed entries are retried.

    Yields:
        The outcomes, as soon as they are known.

    Raises:
        ServiceError: An exception of ``publish`` that bisecting cannot help with. Messages that
            have not been yielded by then are not acknowledged.
    """
    pending = [_Part(messages)]
    while pending:
        part = pending.pop()
        try:
            failed = publish(part.messages)
        except RequestRejected as exc:
            if exc.status not in MESSAGE_STATUSES:
                raise
            if len(part.messages) == 1:
                yield Rejected(part.messages[0], exc.reason, exc.status, part.attempts)
            else:
                pending.extend(reversed(part.halves()))
            continue
        if len(failed) < len(part.messages):
            yield Published([m for i, m in enumerate(part.messages) if i not in failed])
        if failed and part.entry_tries < ENTRY_TRIES:
            sleep(random.uniform(0.5, 1) * FIRST_WAIT_SECS * 2**part.entry_tries)  # noqa: S311
            retried = [part.messages[index] for index in sorted(failed)]
            pending.append(_Part(retried, part.attempts + 1, part.entry_tries + 1))
        else:
            for index, reason in sorted(failed.items()):
                yield Rejected(part.messages[index], reason, 200, part.attempts)
