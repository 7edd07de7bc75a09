"""The loop of the main thread, which handles outcomes, timers and signals."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from ..event_streams.errors import EventStreamsError, Stopped
from ..shutdown import Shutdown
from .acknowledgements import Acknowledgements
from .messages import Failed, Published
from .producer_registry import ProducerRegistry
from .rejections import RejectionLog
from .summary import PROGRESS_SECS, Summary

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from .context import PublishContext
    from .messages import Outcome

T = TypeVar("T")


class MainLoop:
    """Handles outcomes, batches at their maximum age, states and failures.

    For the main thread only, which calls it between two records and while it waits.

    Args:
        context: The context that the producers of all topics share.
        logger: The logger of the plugin.
    """

    def __init__(self, context: PublishContext, logger: logging.Logger) -> None:
        self._context = context
        self._producers = ProducerRegistry(context)
        self._acknowledgements = Acknowledgements(context.settings.dead_letter_path)
        self._rejections = RejectionLog()
        self._shutdown = Shutdown()
        self._summary = Summary(logger, self._producers.tallies)

    @property
    def stopping(self) -> bool:
        """Whether reading should stop."""
        return self._shutdown.stopping

    def stop(self) -> None:
        """Stop reading, and finish within the time limit after a signal; signal-safe."""
        self._shutdown.stop()
        self._context.wakeup.call()

    def wait(self, readable: int | None = None) -> bool:
        """Wait until `poll` has something to do.

        Args:
            readable: A descriptor that also ends the wait when it is readable.

        Returns:
            Whether the descriptor is readable.
        """
        now = time.monotonic()
        deadline = self._shutdown.deadline or now + PROGRESS_SECS
        return self._context.wakeup.wait(
            max(0.0, min(deadline, self._producers.due_at) - now),
            readable=readable,
            writable=self._acknowledgements.output,
        )

    def poll(self) -> None:
        """Handle what is due: outcomes, batches at their maximum age, states.

        Raises:
            EventStreamsError: The run has failed; call `finish`.
        """
        self._process()
        self._shutdown.check()

    def while_waiting(self, work: Callable[[], T]) -> T:
        """Run a function in another thread, poll until it is done, and return its result.

        Raises:
            Stopped: A signal ended the wait.
            EventStreamsError: The run has failed, or the function raised it.
        """
        future = self._context.wakeup.run(work)
        while not future.done():
            if self.stopping:
                raise Stopped("the run is being stopped")
            self.wait()
            self.poll()
        return future.result()

    def _process(self) -> None:
        self._context.wakeup.clear()
        while self._context.outcomes:
            self._handle(*self._context.outcomes.popleft())
        self._producers.submit_due()
        self._emit_state()
        self._summary.progress()

    def _handle(self, topic_id: int, outcome: Outcome) -> None:
        producer = self._producers.of_topic(topic_id)
        if isinstance(outcome, Published):
            producer.tally.published += len(outcome.messages)
            self._acknowledgements.acknowledge(outcome.messages)
            self._summary.count(outcome.messages)
        elif isinstance(outcome, Failed):
            self._fail(outcome)
        else:
            try:
                self._acknowledgements.dead_letter(outcome, topic_id)
            except EventStreamsError as exc:
                self._fail(Failed(exc))
                return
            producer.tally.dead_lettered += 1
            self._rejections.add(outcome, producer.label)

    def _fail(self, failed: Failed) -> None:
        """Shut down after a failure; only messages before a rejected one are still published."""
        rejected = failed.rejected
        self._shutdown.fail(failed.error, immediately=rejected is None)
        if rejected is None:
            self._context.limiter.stop()
        self._producers.drop_from(rejected.message.sequence if rejected else 0)

    def _emit_state(self) -> None:
        try:
            self._acknowledgements.emit_state()
        except EventStreamsError as exc:
            self._fail(Failed(exc))
