"""From record to acknowledged state: the main thread's side of publishing.

Only the main thread is in here. Workers hand in what became of messages, and a state is told when
the records before it are acknowledged or set aside.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from . import background
from .acknowledgement import Ledger
from .ending import Ending
from .errors import EventStreamsError, Stopped
from .isolation import Published, Rejected
from .messages import Message
from .payload import UnfitError
from .publishers import Publishers
from .summary import PROGRESS_SECS, Summary
from .telling import Teller
from .terms import Failed

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .dead_letters import DeadLetters
    from .messages import Origin, Stream
    from .payload import Payload
    from .publisher import Publisher
    from .terms import Outcome, Terms

T = TypeVar("T")


class Delivery:
    """Takes in records and states, in order, and tells the states that have become true.

    Args:
        terms: How to publish.
        payload: What to publish of a record.
        dead_letters: Where messages are set aside, as far as the terms allow it.
        max_batch_age_secs: How long a message may wait for its batch to fill.
        logger: The logger of the plugin.
    """

    def __init__(
        self,
        terms: Terms,
        payload: Payload,
        dead_letters: DeadLetters | None,
        *,
        max_batch_age_secs: float,
        logger: logging.Logger,
    ) -> None:
        self._terms = terms
        self._limits = terms.limits
        self._payload = payload
        self._dead_letters = dead_letters
        self._logger = logger
        self._publishers = Publishers(terms, max_batch_age_secs=max_batch_age_secs)
        self._ledger = Ledger()
        self._teller = Teller(dead_letters)
        self._ending = Ending()
        self._sequence = 0
        self._owed = 0
        self._summary = Summary(logger, self._publishers.tallies)

    def route(self, stream: str, topic_id: int | None) -> None:
        """Send a stream to a topic; None skips it."""
        self._publishers.route(stream, topic_id)

    def add(self, stream: Stream, record: bytes, origin: Origin) -> None:
        """Take in a record; returns when there is room for another one.

        Args:
            stream: The stream that it is published from, which has a route.
            record: The JSON object.
            origin: Where it comes from.

        Raises:
            EventStreamsError: The run has failed.
        """
        publisher = self._publishers.of(stream.name)
        if publisher is None:
            return
        payload = self._payload
        try:
            body = record if payload.is_record else payload.of(record, stream, origin.record)
            self._limits.check(body)
        except UnfitError as exc:
            self.reject(stream, origin, str(exc))
            return
        batch = publisher.filling.add(self._message(body, origin))
        if batch:
            publisher.submit(batch)
            # Also where there is room: a chunk of the input may hold many batches.
            self.attend()
            while publisher.full and not self.stopping:
                self._terms.wakeup.wait(self.patience())
                self.attend()

    def reject(self, stream: Stream, origin: Origin, reason: str) -> None:
        """Take in a record that cannot be sent: it is set aside, or ends the run.

        Args:
            stream: The stream that it would be published from, which has a route.
            origin: Where it comes from.
            reason: Why it cannot be sent.

        Raises:
            EventStreamsError: The run has failed.
        """
        publisher = self._publishers.of(stream.name)
        if publisher is None:
            return
        rejected = Rejected(self._message(origin.record, origin), reason)
        self._take_in(publisher, self._terms.allowance.judge(rejected))
        self.attend()

    def close_epoch(self, state: bytes) -> None:
        """Take in the value of a STATE message, which stands for all records before it."""
        self._ledger.close(state)
        self._tell()

    @property
    def stopping(self) -> bool:
        """Whether the input should be read no further."""
        return self._ending.stopping

    def stop(self) -> None:
        """Read no further, and finish within the time that a signal leaves (signal-safe)."""
        self._ending.stop()
        self._terms.wakeup.call()

    def fileno(self) -> int:
        """The descriptor that is ready to read when `attend` has something to do."""
        return self._terms.wakeup.fileno()

    def patience(self) -> float:
        """The seconds after which `attend` has something to do, if nothing else happens."""
        now = time.monotonic()
        due = [self._ending.deadline or now + PROGRESS_SECS, *self._publishers.due()]
        return max(0.0, min(due) - now)

    def attend(self) -> None:
        """Do what is due: take in what became of messages, close old batches, tell the state.

        Raises:
            EventStreamsError: The run has failed; `finish` brings it to its end.
        """
        self._settle()
        self._ending.check()

    def meanwhile(self, work: Callable[[], T]) -> T:
        """Attend while something else takes its time, and return what comes of it.

        Raises:
            Stopped: A signal came first.
            EventStreamsError: The run has failed; or what the work raises.
        """
        future = background.begin(work, done=self._terms.wakeup.call)
        while not future.done():
            if self.stopping:
                raise Stopped("the run is being stopped")
            self._terms.wakeup.wait(self.patience())
            self.attend()
        return future.result()

    def finish(self) -> None:
        """Publish and tell all that was read, as far as a failure or a signal leaves it possible.

        Raises:
            EventStreamsError: The run has failed, or not all could be published in time.
        """
        self._publishers.submit_all()
        while not self._publishers.idle and not self._ending.late:
            self._terms.wakeup.wait(self.patience())
            self._settle()
        self._settle()
        self._close()
        self._summary.tell()
        self._ending.check()
        if self._owed:
            raise EventStreamsError(
                f"stopped before {self._owed} messages were acknowledged; "
                "the next run publishes them if it starts from the last state told"
            )

    def _close(self) -> None:
        idle = self._publishers.idle
        self._publishers.close(join=idle)
        if idle:
            # Else a worker that nobody waits for may yet call.
            self._terms.wakeup.close()
        if self._dead_letters is not None:
            try:
                self._dead_letters.close()
            except EventStreamsError as exc:
                self._ending.fail(exc, at_once=True)

    def _message(self, body: bytes, origin: Origin) -> Message:
        epoch = self._ledger.current
        epoch.owed += 1
        self._owed += 1
        self._sequence += 1
        return Message(body, origin, self._sequence, epoch)

    def _settle(self) -> None:
        self._terms.wakeup.clear()
        while self._terms.outcomes:
            self._take_in(*self._terms.outcomes.popleft())
        self._publishers.submit_old()
        self._tell()
        self._summary.progress()

    def _take_in(self, publisher: Publisher, outcome: Outcome) -> None:
        if isinstance(outcome, Published):
            publisher.tally.published += len(outcome.messages)
            self._owed -= len(outcome.messages)
            self._summary.count(outcome.messages)
            for message in outcome.messages:
                self._ledger.acknowledge(message.epoch)
        elif isinstance(outcome, Rejected):
            self._set_aside(publisher, outcome)
        else:
            self._fail(outcome)

    def _set_aside(self, publisher: Publisher, rejected: Rejected) -> None:
        assert self._dead_letters is not None  # noqa: S101
        try:
            self._dead_letters.write(rejected, publisher.topic_id)
        except EventStreamsError as exc:
            self._fail(Failed(exc))
            return
        if not publisher.tally.set_aside:
            self._logger.warning(
                "%s: set aside: %s; the summary counts those that follow",
                rejected.message.origin,
                rejected.reason,
            )
        publisher.tally.set_aside += 1
        self._owed -= 1
        self._ledger.acknowledge(rejected.message.epoch)

    def _fail(self, failed: Failed) -> None:
        """Publish no more than what stands before a message that ends the run, else nothing."""
        rejected = failed.rejected
        self._ending.fail(failed.error, at_once=rejected is None)
        if rejected is None:
            self._terms.budget.stop()
        self._publishers.keep_before(rejected.message.sequence if rejected else 0)

    def _tell(self) -> None:
        try:
            self._teller.tell(self._ledger.take())
        except EventStreamsError as exc:
            self._fail(Failed(exc))
