"""Publishing the batches of one topic, beside the reading of the input and beside other topics."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ..event_streams.errors import Stopped
from .batch_sender import BatchSender
from .batches import BatchBuilder
from .bisect import Rejected, bisect
from .context import Failed
from .summary import Tally

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .context import Outcome, PublishContext
    from .messages import Message
    from .publish_client import PublishClient

# How many streams of a topic are named in a line.
MAX_NAMES = 5


class TopicProducer:
    """One topic: the batch being filled, those that wait, and the workers that publish them.

    Args:
        topic_id: The topic.
        context: What all producers have in common.

    Attributes:
        builder: The batch being filled.
        streams: The names of the streams that go to this topic.
        tally: What the main thread counts.
        tallies: What each worker counts.
    """

    def __init__(self, topic_id: int, context: PublishContext) -> None:
        self.topic_id = topic_id
        self.builder = BatchBuilder(context.limits)
        self.streams: dict[str, None] = {}
        self.tally = Tally()
        self.tallies: list[Tally] = []
        self._context = context
        self._waiting: deque[Sequence[Message]] = deque()
        self._taken = 0
        self._under_way: set[int] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._workers: list[threading.Thread] = []

    @property
    def label(self) -> str:
        """The topic and its streams, as errors and summary name them."""
        names = list(self.streams)
        more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
        return f"{', '.join(names[:MAX_NAMES])}{more} (topic {self.topic_id})"

    @property
    def full(self) -> bool:
        """Whether enough batches are ahead; reading should pause."""
        return len(self._waiting) > self._context.max_in_flight

    @property
    def lingering(self) -> bool:
        """Whether a batch is being filled that could go now, and waits for more messages.

        Behind others that wait it could not, and may as well go on builder.
        """
        return bool(self.builder.messages) and not self._waiting

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
            busy = len(self._under_way) + len(self._waiting)
        if len(self._workers) < min(busy, self._context.max_in_flight):
            self._start_worker()

    def keep_before(self, sequence: int) -> None:
        """Drop every message that is not under way and not before this place."""
        with self._changed:
            batches = [[m for m in b if m.sequence < sequence] for b in self._waiting]
            self._waiting = deque(filter(None, batches))
        kept = [m for m in self.builder.close() if m.sequence < sequence]
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

    def _start_worker(self) -> None:
        tally = Tally()
        topic = self._context.connect(self.topic_id)
        # A daemon: a run that must end does not wait for a service that does not answer.
        worker = threading.Thread(target=self._work, args=(topic, tally), daemon=True)
        self.tallies.append(tally)
        self._workers.append(worker)
        worker.start()

    def _work(self, topic: PublishClient, tally: Tally) -> None:
        with closing(topic):
            while taken := self._take():
                number, batch = taken
                with self._reporting(number):
                    self._publish(batch, topic, tally)

    def _take(self) -> tuple[int, Sequence[Message]] | None:
        with self._changed:
            while not self._waiting or self._far_ahead:
                if self._closed:
                    return None
                self._changed.wait()
            number, batch = self._taken, self._waiting.popleft()
            self._taken += 1
            self._under_way.add(number)
        self._context.wakeup.call()
        return number, batch

    @property
    def _far_ahead(self) -> bool:
        """Whether the next batch has to wait for the oldest one, though there is a worker for it.

        Else the others would go on while one is retried, and all that they publish behind it would
        be doubled after a kill, and out of order by as much.
        """
        oldest = min(self._under_way, default=self._taken)
        return self._taken - oldest >= self._context.max_in_flight

    @contextmanager
    def _reporting(self, number: int) -> Iterator[None]:
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
                self._under_way.remove(number)
                self._changed.notify_all()
            self._context.wakeup.call()

    def _report(self, outcome: Outcome) -> None:
        self._context.outcomes.append((self, outcome))
        self._context.wakeup.call()

    def _publish(self, batch: Sequence[Message], topic: PublishClient, tally: Tally) -> None:
        attempt = BatchSender(
            topic, self.label, self._context.limiter, self._context.max_retry_secs, tally
        )
        for found in bisect(batch, attempt.publish):
            outcome = (
                self._context.rejection_limit.judge(found) if isinstance(found, Rejected) else found
            )
            if isinstance(outcome, Failed):
                # What comes behind it in this topic must not overtake it.
                self.close()
                self._report(outcome)
                return
            self._report(outcome)
