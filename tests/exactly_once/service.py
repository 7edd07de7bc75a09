"""A simulated service: topics, and what can go wrong with a request to them."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.messages_api import batch_response, page, payloads_of, rejection

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 11, 24, tzinfo=timezone.utc)
# The simulated service always rejects this version.
REJECTED = "!"


class Killed(Exception):
    """The process has been killed: nothing that it does from now on has an effect."""


class Lost(Exception):
    """The response does not arrive."""


class Expired(Exception):
    """The message of the cursor no longer exists."""


class BatchRejected(Exception):
    """The whole batch is rejected because of one message."""


class Stored(NamedTuple):
    """A message of a topic; `stream` is None for a message of another producer."""

    message_id: str
    payload: bytes
    time: str
    stream: str | None = None
    row: str = ""
    version: str = ""
    update: int = 0


@dataclass(frozen=True)
class Faults:
    """The probability of each fault, per request or per line of the input."""

    kill: float = 0.03
    lost: float = 0.08
    partial: float = 0.15
    other_producer: float = 0.15


@dataclass
class Topic:
    """One topic, with its own random numbers, because topics are published to concurrently."""

    rng: random.Random
    messages: list[Stored] = field(default_factory=list)
    # An entry that fails several times in succession would count as rejected.
    failed: set[bytes] = field(default_factory=set)


@dataclass
class Service:
    """All topics.

    Args:
        seed: The seed of the random numbers.
        topics: The number of topics, whose ids start with 0.
        faults: The probabilities of faults.
    """

    seed: int
    topics: int
    faults: Faults
    killed: bool = False
    requests: int = 0
    kills: int = 0
    lost: int = 0
    lock: threading.RLock = field(default_factory=threading.RLock)
    trace: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the topics."""
        self.by_id = {n: Topic(random.Random(f"{self.seed}-{n}")) for n in range(self.topics)}  # noqa: S311

    def note(self, line: str) -> None:
        """Add a line to the trace of the history."""
        self.trace.append(line)

    def may_kill(self, rng: random.Random, where: str) -> None:
        """Kill the process at random."""
        if self.killed:
            raise Killed
        if rng.random() < self.faults.kill:
            self.killed = True
            self.kills += 1
            self.note(f"    KILL {where}")
            raise Killed

    def respond(self, topic_id: int, operation: str, body: bytes) -> bytes | None:
        """Respond to a request; a process that was killed must not go on."""
        date = format_datetime(self._now(self.by_id[topic_id]), usegmt=True)
        try:
            if operation == "consume":
                request = json.loads(body)
                found = self.consume(topic_id, request)
                return page([(m.message_id, m.payload, m.time) for m in found], f"Date: {date}")
            ids = self.publish(topic_id, payloads_of(body))
            return batch_response(dict(enumerate(ids)), f"Date: {date}")
        except Killed:
            return rejection("401 Unauthorized")
        except Lost:
            return None
        except BatchRejected:
            return rejection("422 Unprocessable Content")
        except Expired:
            return rejection("400 Bad Request")

    def publish(self, topic_id: int, bodies: Sequence[bytes]) -> list[str | None]:
        """Publish a batch.

        Returns:
            The id of each message; None for one that failed.
        """
        with self.lock:
            topic = self.by_id[topic_id]
            rng = topic.rng
            self.requests += 1
            self.may_kill(rng, "before publish")
            self._others(topic)
            records = [json.loads(body) for body in bodies]
            named = [f"{r['s']}.{r.get('id', '')}={r['v']}" for r in records]
            lost = rng.random() < self.faults.lost
            if lost and rng.random() < 0.4:
                self.lost += 1
                self.note(f"    publish T{topic_id} {named}: lost, not applied")
                raise Lost
            if any(record["v"] == REJECTED for record in records) and rng.random() < 0.5:
                self.note(f"    publish T{topic_id} {named}: rejected")
                raise BatchRejected
            fails = self._failing(topic, bodies)
            ids = [
                None
                if body in fails or record["v"] == REJECTED
                else self._store(topic, body, record)
                for body, record in zip(bodies, records, strict=True)
            ]
            self._others(topic)
            done = [int(each is not None) for each in ids]
            self.note(f"    publish T{topic_id} {named}: {done}{' lost, applied' * lost}")
            self.may_kill(rng, "after publish")
            if lost:
                self.lost += 1
                raise Lost
            return ids

    def consume(self, topic_id: int, request: dict[str, Any]) -> list[Stored]:
        """Return a page of messages."""
        with self.lock:
            topic = self.by_id[topic_id]
            self.requests += 1
            self.may_kill(topic.rng, "in look-up")
            found = topic.messages
            if "after_message_id" in request:
                ids = [message.message_id for message in found]
                if request["after_message_id"] not in ids:
                    raise Expired
                found = found[ids.index(request["after_message_id"]) + 1 :]
            elif "since_time" in request:
                found = [message for message in found if message.time > request["since_time"]]
            return found[: min(request["batch_size"], self._page_size(topic))]

    def of_stream(self, stream: str) -> list[Stored]:
        """Return the messages of a stream, in topic order."""
        with self.lock:
            return [m for t in self.by_id.values() for m in t.messages if m.stream == stream]

    def _page_size(self, topic: Topic) -> int:
        """Return the size of a page, which may be small before the end of the topic."""
        return topic.rng.choice((1, 3, 50))

    def _failing(self, topic: Topic, bodies: Sequence[bytes]) -> set[bytes]:
        """Choose the entries that fail."""
        if topic.rng.random() < self.faults.partial:
            chosen = {body for body in bodies if topic.rng.random() < 0.5}
            topic.failed = chosen - topic.failed
        else:
            topic.failed = set()
        return topic.failed

    def _others(self, topic: Topic) -> None:
        while topic.rng.random() < self.faults.other_producer:
            self._store(topic, b'{"message_key":"theirs"}', {})

    def _store(self, topic: Topic, body: bytes, record: dict[str, Any]) -> str:
        number = len(topic.messages) + 1
        # Neither length nor order show which came first.
        message_id = f"A{number * 7919 % 10007:x}"
        time = self._now(topic).isoformat(timespec="milliseconds")
        stream, row = record.get("s"), str(record.get("id", ""))
        version, update = str(record.get("v", "")), int(record.get("_sdc_update", 0))
        stored = Stored(message_id, body, time, stream, row, version, update)
        topic.messages.append(stored)
        return message_id

    def _now(self, topic: Topic) -> datetime:
        return START + timedelta(milliseconds=100 * len(topic.messages))
