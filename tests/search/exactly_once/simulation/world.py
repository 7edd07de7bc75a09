"""The simulated service: topics, a logical clock, faults and deviations from an ideal service.

The clock counts whole seconds. It only moves with requests and waits.
"""

import functools
import hashlib
import random
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any, NamedTuple

import msgspec
from target_workato_streams.event_streams.consume import (
    ConsumeClient,
    Cursor,
    Message,
    Messages,
    rfc3339,
)
from target_workato_streams.event_streams.errors import RequestRejected
from target_workato_streams.message_key import RowVersion

Action = Callable[[], None]
START = datetime(2026, 11, 24, tzinfo=timezone.utc)
KEY_FIELD = "key"
PAGE_SIZE = 4
# The service always rejects a record with this content.
REJECTED = "!"


class Killed(Exception):
    """The target is killed."""


class Lost(Exception):
    """The response to a request does not arrive."""


class Record(NamedTuple):
    """A record of the source; `update` is the number of the change that made it."""

    stream: str
    row: str
    content: str
    update: int
    is_keyed: bool

    def __str__(self) -> str:
        """Return a short form for the trace."""
        return f"{self.stream}{self.row}={self.content}"

    @property
    def key(self) -> tuple[str, str]:
        """The row; without a key, all rows with the same content."""
        return self.stream, self.row

    @property
    def version(self) -> RowVersion:
        """The version in its message key."""
        return _version(*self.key, self.content if self.is_keyed else None)


@dataclass(frozen=True)
class Options:
    """What may happen in a history; most are probabilities."""

    # The source.
    kinds: tuple[str, ...]  # those of its streams
    has_offset_per_stream: bool = False  # see `Source`
    streams: int = 2  # at most
    topics: int = 2  # at most
    rows: int = 3  # of a keyed stream
    versions: int = 3  # different contents
    equal_events: bool = False  # a log may contain a version twice in succession
    rejected_records: bool = False  # a log contains records that the service rejects
    newest_first: bool = False  # a snapshot starts with the newest rows
    no_news: bool = False  # only the first stream changes between the runs
    burst: float = 0.5  # with a log per stream, the next event is of the same stream
    states: float = 0.3  # a state follows a record; of a table, one follows each 1/0.3 records
    tap_dies: float = 0.0
    # The history.
    runs: int = 4  # at most, before the last one, which is not interrupted
    changes: int = 12  # of the source before a run, at most
    many_changes: int = 0  # further ones before every other run
    rests: tuple[int, ...] = (0, 1, 3, 20, 200)  # the possible times in seconds between two runs
    older_state: float = 0.2  # a run resumes from an older state
    expire: float = 0.0  # messages expire between two runs
    other_position: float = 0.0  # a position is not in its topic
    no_time: float = 0.0  # the time of a position is unknown
    no_position: float = 0.0  # a position is missing
    max_found: int = 1_000_000  # messages of ours that a run may read again, from the third run on
    hold_secs: float = 60.0  # the time for which found messages hold back states
    # The service.
    kill: float = 0.03  # the target is killed, at each request, line and state
    lost: float = 0.08  # a response is lost; the request was applied or not
    partial: float = 0.15  # some entries of a batch fail
    others: float = 0.15  # another producer publishes a message, before or after a batch
    partly_applied: float = 0.0  # a request whose response is lost was applied in part
    applied_late: float = 0.0  # a request is applied after its connection was closed
    readable_after: int = 0  # the seconds until a message can be read or used as a cursor
    twice: float = 0.0  # a message is delivered again
    shuffled: float = 0.0  # the messages of a batch are in another order
    stray: float = 0.0  # a cursor is rejected for no reason, up to four times
    no_cursors: bool = False  # the ids in acknowledgements are no cursors
    expiring: float = 0.0  # messages expire before a request
    overlapping: float = 0.0  # another run starts during a publish
    undated: bool = False  # responses have no Date header
    clock_ahead: int = 0  # the seconds by which the local clock is ahead


class Stored(NamedTuple):
    """A message of a topic; `record` is None if another producer published it."""

    message: Message
    time: int
    record: Record | None


@dataclass
class Topic:
    """The messages of a topic, the number of expired ones, and requests that are applied late."""

    messages: list[Stored] = field(default_factory=list)
    indices: dict[str, int] = field(default_factory=dict)
    expired: int = 0
    late: list[list[Record]] = field(default_factory=list)


class World:
    """The service and its clock, which is also the target's if `clock_ahead` is 0.

    `trace` receives lines that describe what happens.
    """

    def __init__(
        self, rng: random.Random, topics: int, options: Options, trace: list[str] | None = None
    ) -> None:
        self.options = options
        self.topics = [Topic() for _ in range(topics)]
        self.seconds = 100
        self.start_another_run: Action | None = None
        self.rng = rng
        self._trace = trace
        self._strays = 0

    def note(self, text: str, *values: object) -> None:
        """Add a line to the trace."""
        if self._trace is not None:
            self._trace.append(text.format(*values))

    def happens(self, probability: float) -> bool:
        """Whether something happens."""
        return self.rng.random() < probability

    def may_kill(self, where: str) -> None:
        """Kill the target at random."""
        if self.happens(self.options.kill):
            self.note("    KILLED {}", where)
            raise Killed

    def now(self) -> datetime:
        """Return the local time of the target."""
        return START + timedelta(seconds=self.seconds + self.options.clock_ahead)

    def sleep(self, secs: float) -> None:
        """Wait."""
        self.seconds += int(secs)

    def date(self) -> datetime:
        """Return the time in a Date header, which may be that of another computer."""
        return START + timedelta(seconds=self.seconds - self.rng.randint(0, 1))

    def expire(self) -> None:
        """Expire some messages of each topic."""
        for topic in self.topics:
            topic.expired = self.rng.randint(topic.expired, len(topic.messages))

    def publish(
        self, topic_id: int, records: Sequence[Record]
    ) -> tuple[list[str | None], datetime]:
        """Publish a batch.

        Returns:
            The message id of each record, None for those that failed, and the Date header.

        Raises:
            Lost: There is no response.
        """
        topic, options, rng = self.topics[topic_id], self.options, self.rng
        if self.start_another_run and self.happens(options.overlapping):
            start, self.start_another_run = self.start_another_run, None
            start()
        self.may_kill("before publish")
        self._step(topic_id)
        self._publish_others(topic_id)
        is_lost = self.happens(options.lost)
        if is_lost and self.happens(0.4):
            is_late = self.happens(options.applied_late)
            if is_late:
                topic.late.append([record for record in records if record.content != REJECTED])
            self.note("    publish {} lost, applied late: {}", _text(topic_id, records), is_late)
            raise Lost
        accepted = [True] * len(records)
        if is_lost and self.happens(options.partly_applied):
            count = rng.randint(0, len(records))
            accepted = [index < count for index in range(len(records))]
        elif self.happens(options.partial):
            accepted = [rng.random() < 0.5 for _ in records]
        order = list(range(len(records)))
        if self.happens(options.shuffled):
            rng.shuffle(order)
        ids: list[str | None] = [None] * len(records)
        for index in order:
            if accepted[index] and records[index].content != REJECTED:
                ids[index] = self._append(topic_id, records[index])
        date = self.date()
        self.seconds += self.happens(0.3)
        self._publish_others(topic_id)
        self.note("    publish {} {} lost: {}", _text(topic_id, records), ids, is_lost)
        self.may_kill("after publish")
        if is_lost:
            raise Lost
        return [f"{each}-" if each and options.no_cursors else each for each in ids], date

    def consume(self, topic_id: int, cursor: Cursor, batch_size: int, secs: int) -> Messages:
        """Consume a page, after at most so many seconds if there is none.

        Raises:
            RequestRejected: The cursor is rejected.
        """
        topic = self.topics[topic_id]
        self.may_kill("in a look-up")
        self._step(topic_id)
        if self.happens(self.options.expiring):
            topic.expired = self.rng.randint(topic.expired, len(topic.messages))
        start = self._first_after(topic, cursor)
        until = self.seconds + secs
        while (end := self._readable(topic)) <= start and self.seconds < until:
            self._step(topic_id)
        stored = topic.messages[start : min(end, start + min(batch_size, PAGE_SIZE))]
        again = self.options.twice
        page = [each for each in stored for _ in range(1 + self.happens(again))]
        if page and start and cursor.after_message_id and self.happens(again):
            page.insert(0, topic.messages[start - 1])
        date = None if self.options.undated else self.date()
        return Messages([each.message for each in page], date)

    def store(self, topic_id: int, payload: bytes, record: Record | None = None) -> str:
        """Append a message to a topic, and return its id."""
        topic = self.topics[topic_id]
        message_id = f"A{len(topic.messages)}"
        topic.indices[message_id] = len(topic.messages)
        message = Message(message_id, msgspec.Raw(payload), _time(self.seconds))
        topic.messages.append(Stored(message, self.seconds, record))
        return message_id

    def records(self) -> list[Record]:
        """Return our messages of all topics, in topic order."""
        stored = [each.record for topic in self.topics for each in topic.messages]
        return [record for record in stored if record]

    def _first_after(self, topic: Topic, cursor: Cursor) -> int:
        if cursor.since_time is not None:
            since = (msgspec.convert(cursor.since_time, datetime) - START).total_seconds()
            found = bisect_left(topic.messages, since, key=lambda each: each.time)
            return max(found, topic.expired)
        if cursor.after_message_id is None:
            return topic.expired
        if self._strays or self.happens(self.options.stray):
            self._strays = self._strays - 1 if self._strays else self.rng.randint(0, 3)
            raise RequestRejected("stray", status=400, reason="stray")
        index = topic.indices.get(cursor.after_message_id, -1)
        if not topic.expired <= index < self._readable(topic):
            raise RequestRejected("no such message", status=404, reason="no such message")
        return index + 1

    def _readable(self, topic: Topic) -> int:
        """Return the number of messages that can be read."""
        latest = self.seconds - self.options.readable_after
        return bisect_right(topic.messages, latest, key=lambda each: each.time)

    def _step(self, topic_id: int) -> None:
        self.seconds += 1
        late = self.topics[topic_id].late
        if late and self.happens(0.5):
            for record in late.pop(0):
                self._append(topic_id, record)

    def _publish_others(self, topic_id: int) -> None:
        while self.happens(self.options.others):
            self.store(topic_id, b'{"of":"others"}')

    def _append(self, topic_id: int, record: Record) -> str:
        return self.store(topic_id, _payload(record.version), record)


class TopicClient(ConsumeClient):
    """Consumes one topic."""

    def __init__(self, world: World, topic_id: int) -> None:
        self.requests = 0
        limiter = SimpleNamespace(sleep=world.sleep)
        self.session: Any = SimpleNamespace(subject=f"T{topic_id}", limiter=limiter)
        self.now = world.now
        self._world = world
        self._topic_id = topic_id

    def request(self, cursor: Cursor, batch_size: int, timeout_secs: int = 0) -> Messages:
        """Consume a page."""
        self.requests += 1
        return self._world.consume(self._topic_id, cursor, batch_size, timeout_secs)


def _text(topic_id: int, records: Sequence[Record]) -> str:
    return f"T{topic_id} {' '.join(map(str, records))}"


@functools.cache
def _version(stream: str, row: str, content: str | None) -> RowVersion:
    hashed = hashlib.sha256(stream.encode()).hexdigest()[:8]
    hashed += hashlib.sha256(row.encode()).hexdigest()[:24]
    if content is None:
        return RowVersion(hashed, hashed)
    return RowVersion(hashed, hashlib.sha256(content.encode()).hexdigest()[:32])


@functools.cache
def _payload(version: RowVersion) -> bytes:
    return msgspec.json.encode({KEY_FIELD: version.key})


@functools.cache
def _time(seconds: int) -> str:
    return rfc3339(START + timedelta(seconds=seconds), "milliseconds")
