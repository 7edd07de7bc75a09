"""Ensures that a topic does not end with an older version of a row after a partial failure."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING

from .message_key import row_key
from .messages import Published

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .messages import Message, Rejected

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
