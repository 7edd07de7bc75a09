"""Publishing the batches of one topic, beside the reading of the input and beside other topics."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .attempt import Attempt
from .batches import Filling
from .errors import EventStreamsError, Stopped
from .isolation import Published, Rejected, isolate
from .summary import Tally
from .wakeup import Wakeup

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .batches import Limits
    from .client import Topic
    from .messages import Message
    from .pacing import Budget


class Failed(NamedTuple):
    """A worker gave up.

    Attributes:
        error: Why.
        rejected: The message that may not be set aside, where that is why.
    """

    error: Exception
    rejected: Rejected | None = None


Outcome = Published | Rejected | Failed


class Allowance:
    """How many messages may still be set aside, over all topics.

    Args:
        limit: The most; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Whether one more may be set aside; it is counted."""
        with self._lock:
            if self._left is None:
                return True
            self._left -= 1
            return self._left >= 0


@dataclass(frozen=True)
class Terms:
    """What the publishers of all topics have in common.

    Args:
        connect: Opens a connection to a topic, for the thread that calls it.
        budget: The budget of requests.
        allowance: How many messages may be set aside.
        limits: What a batch may hold.
        max_in_flight: The most batches of one topic under way at a time.
        max_retry_secs: How long one request may be retried in all.
        outcomes: What became of messages, for the main thread.
        wakeup: Wakes the main thread when there is an outcome or room.
    """

    connect: Callable[[int], Topic]
    budget: Budget
    allowance: Allowance
    limits: Limits
    max_in_flight: int
    max_retry_secs: float
    outcomes: deque[tuple[Publisher, Outcome]] = field(default_factory=deque)
    wakeup: Wakeup = field(default_factory=Wakeup)


class Publisher:
    """One topic: the batch being filled, those that wait, and the workers that publish them.

    Args:
        topic_id: The topic.
        terms: What all publishers have in common.

    Attributes:
        filling: The batch being filled.
        streams: The names of the streams that go to this topic.
        tally: What the main thread counts.
        tallies: What each worker counts.
    """

    def __init__(self, topic_id: int, terms: Terms) -> None:
        self.topic_id = topic_id
        self.filling = Filling(terms.limits)
        self.streams: dict[str, None] = {}
        self.tally = Tally()
        self.tallies: list[Tally] = []
        self._terms = terms
        self._waiting: deque[Sequence[Message]] = deque()
        self._under_way = 0
        self._changed = threading.Condition()
        self._closed = False
        self._workers: list[threading.Thread] = []

    @property
    def label(self) -> str:
        """The topic and its streams, as errors and summary name them."""
        return f"{', '.join(self.streams)} (topic {self.topic_id})"

    @property
    def full(self) -> bool:
        """Whether enough batches are ahead; reading should pause."""
        return len(self._waiting) > self._terms.max_in_flight

    @property
    def lingering(self) -> bool:
        """Whether a batch is being filled that could go now, and waits for more messages."""
        return bool(self.filling.messages) and not self.full

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        with self._changed:
            return not self._waiting and not self._under_way

    def submit(self, batch: Sequence[Message]) -> None:
        """Put a batch in the queue, behind those that came before."""
        with self._changed:
            if not batch or self._closed:
                return
            self._waiting.append(batch)
            self._changed.notify()
            busy = self._under_way + len(self._waiting)
        if len(self._workers) < min(busy, self._terms.max_in_flight):
            self._hire()

    def keep_before(self, sequence: int) -> None:
        """Drop every message that is not under way and not before this place."""
        with self._changed:
            batches = [[m for m in b if m.sequence < sequence] for b in self._waiting]
            self._waiting = deque(filter(None, batches))
        kept = [m for m in self.filling.close() if m.sequence < sequence]
        self.submit(kept)

    def close(self) -> None:
        """Take nothing more, drop what waits, and let the workers end."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def join(self) -> None:
        """Wait until the workers have ended."""
        for worker in self._workers:
            worker.join()

    def _hire(self) -> None:
        tally = Tally()
        topic = self._terms.connect(self.topic_id)
        # A daemon: a run that must end does not wait for a service that does not answer.
        worker = threading.Thread(target=self._work, args=(topic, tally), daemon=True)
        self.tallies.append(tally)
        self._workers.append(worker)
        worker.start()

    def _work(self, topic: Topic, tally: Tally) -> None:
        with topic:
            while batch := self._take():
                with self._reporting():
                    self._publish(batch, topic, tally)

    def _take(self) -> Sequence[Message] | None:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return None
                self._changed.wait()
            self._under_way += 1
            batch = self._waiting.popleft()
        self._terms.wakeup.call()
        return batch

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        """Whatever happens to a batch, the main thread hears of it before the topic is idle."""
        try:
            yield
        except Stopped:
            self.close()
        except Exception as exc:  # noqa: BLE001
            self.close()
            self._report(Failed(exc))
        finally:
            with self._changed:
                self._under_way -= 1
            self._terms.wakeup.call()

    def _report(self, outcome: Outcome) -> None:
        self._terms.outcomes.append((self, outcome))
        self._terms.wakeup.call()

    def _publish(self, batch: Sequence[Message], topic: Topic, tally: Tally) -> None:
        attempt = Attempt(topic, self.label, self._terms.budget, self._terms.max_retry_secs, tally)
        for outcome in isolate(batch, attempt.publish):
            if isinstance(outcome, Rejected) and not self._terms.allowance.take():
                # What comes behind it in this topic must not overtake it.
                self.close()
                self._report(Failed(refusal(outcome), outcome))
                return
            self._report(outcome)


def refusal(rejected: Rejected) -> EventStreamsError:
    """The error that ends a run at a message that may not be set aside."""
    status = f" (status {rejected.status})" if rejected.status else ""
    return EventStreamsError(
        f"{rejected.message.origin}: rejected: {rejected.reason}{status}; mend the record, or set "
        "on_rejected to dead_letter and max_rejected high enough"
    )
