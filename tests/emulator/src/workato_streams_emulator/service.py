"""The state of the emulated workspace: its settings, quotas, long polls, and requests."""

from __future__ import annotations

import asyncio
import math
import time
from asyncio import Transport
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Literal
from weakref import WeakSet

import msgspec
from starlette.types import Receive

from workato_streams_emulator.clock import Clock
from workato_streams_emulator.deviations import Deviations, Unreadable
from workato_streams_emulator.exchange import Entry, Problem, disconnected
from workato_streams_emulator.faults import Fault, Faults
from workato_streams_emulator.store import END, Store, Topic

TOKEN = "emulator-token"
DEVELOPER_TOKEN = "emulator-developer-token"
NO_DEVIATIONS = Deviations()


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The settings of `Emulator.configure`.

    Attributes:
        latency_secs: The delay of each request (not of the control plane).
        quota_per_minute: The public API's quota in a sliding window; None: unlimited.
        developer_quota_per_minute: The Developer API's quota.
        quota_window_secs: The length of the window, so that a test need not wait for a minute.
        retry_after: The format of the `Retry-After` header of a 429.
        rejection: The response to a batch with a message that does not match the topic's schema.
        rejection_status: The status if `rejection` is "status".
        expired_status: The status for an `after_message_id` that does not exist.
        page_limit: The maximum number of messages in a page, whatever `batch_size` is.
        clock_offset_secs: Shifts the service's clock: `Date`, message times, `since_time`.
        date_header: Whether responses have a `Date` header.
        date_offset_secs: Shifts the `Date` header only.
        schema_checks: Whether messages must match the topic's schema.
    """

    latency_secs: float = 0.0
    quota_per_minute: int | None = None
    developer_quota_per_minute: int | None = 60
    quota_window_secs: float = 60.0
    retry_after: Literal["seconds", "date", "none"] = "seconds"
    rejection: Literal["partial", "status"] = "partial"
    rejection_status: int = 400
    expired_status: int = 400
    page_limit: int | None = None
    clock_offset_secs: float = 0.0
    date_header: bool = True
    date_offset_secs: float = 0.0
    schema_checks: bool = True

    def changed(self, changes: dict[str, Any]) -> Settings:
        """Return these settings with `changes`.

        Raises:
            msgspec.ValidationError: A setting is unknown or has the wrong type.
        """
        return msgspec.convert({**msgspec.structs.asdict(self), **changes}, Settings)


class Quota:
    """The recently accepted requests; rejected requests do not count."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()

    def admit(self, limit: int | None, window_secs: float) -> float:
        """Count a request; return 0.0, or the seconds to wait if the quota is used up."""
        now = time.monotonic()
        while self._admitted and self._admitted[0] <= now - window_secs:
            self._admitted.popleft()
        if limit is not None and len(self._admitted) >= limit:
            # The window has room again when no more than `limit` - 1 requests are in it.
            oldest = self._admitted[-limit] if limit else now
            return oldest + window_secs - now
        self._admitted.append(now)
        return 0.0


class Arrivals:
    """Wakes the long polls of a topic as soon as a message is published to it."""

    def __init__(self) -> None:
        self._waiting: defaultdict[int, set[asyncio.Future[None]]] = defaultdict(set)

    def announce(self, topic_id: int) -> None:
        """Wake the long polls of a topic that has a new message."""
        for waiter in self._waiting.pop(topic_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, topic_id: int, receive: Receive, timeout_secs: float) -> bool:
        """Wait for a message; return whether the client is still connected."""
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[topic_id].add(arrival)
        leaving = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait(
                {arrival, leaving}, timeout=timeout_secs, return_when=asyncio.FIRST_COMPLETED
            )
            return not leaving.done()
        finally:
            self._waiting[topic_id].discard(arrival)
            leaving.cancel()


@dataclass(slots=True)
class Call:
    """A request that has passed the checks of its token and quota."""

    method: str
    topic_id: int | None
    query: Mapping[str, str]
    body: bytes
    receive: Receive
    fault: Fault | None


class Service:
    """The whole state of the emulator; created once, cleared by `reset`."""

    def __init__(self, database: str = ":memory:") -> None:
        self.store = Store(database)
        self.clock = Clock()
        self.arrivals = Arrivals()
        self.connections: WeakSet[Transport] = WeakSet()
        self._begin()

    def _begin(self) -> None:
        self.configure(Settings())
        self.faults = Faults()
        self.quota = Quota()
        self.developer_quota = Quota()
        self.log: list[Entry] = []
        self._deviations: dict[int, Deviations] = {}
        self._unreadable: defaultdict[int, Unreadable] = defaultdict(Unreadable)

    def reset(self) -> None:
        """Remove topics, messages, the log and faults, and restore the default settings.

        Connections are closed, so that requests of an earlier test do not affect later tests.
        """
        for connection in self.connections:
            connection.abort()
        self.connections.clear()
        self.store.clear()
        self._begin()

    def configure(self, settings: Settings) -> None:
        """Apply new settings."""
        self.settings = settings
        self.clock.offset_secs = settings.clock_offset_secs

    def admit(self, *, developer: bool) -> None:
        """Count a request against its quota.

        Raises:
            Problem: 429, the quota is used up.
        """
        settings = self.settings
        wait = (
            self.developer_quota.admit(
                settings.developer_quota_per_minute, settings.quota_window_secs
            )
            if developer
            else self.quota.admit(settings.quota_per_minute, settings.quota_window_secs)
        )
        if wait:
            secs = math.ceil(wait)
            headers = {
                "none": {},
                "seconds": {"retry-after": str(secs)},
                "date": {"retry-after": self.clock.http_date(secs)},
            }[settings.retry_after]
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "Rate limit exceeded", headers)

    def topic(self, topic_id: int | None) -> Topic:
        """Return the topic of a request.

        Raises:
            Problem: 404, the topic does not exist.
        """
        topic = self.store.topics.get(topic_id or 0)
        if topic is None:
            raise Problem(HTTPStatus.NOT_FOUND, "Topic not found")
        return topic

    def deviate(self, topic_id: int, deviations: Deviations) -> None:
        """Apply new deviations to a topic."""
        self._deviations[topic_id] = deviations

    def deviations(self, topic_id: int) -> Deviations:
        """Return the deviations of a topic."""
        return self._deviations.get(topic_id, NO_DEVIATIONS)

    def add(self, topic: Topic, payloads: list[bytes], times: list[str] | None = None) -> list[str]:
        """Store messages, by default with the current time, wake the long polls, return the ids."""
        secs = self.deviations(topic.id).readable_after_secs
        if secs:
            self._unreadable[topic.id].add(self.store.last_position + 1, secs)
        times = [self.clock.stamp()] * len(payloads) if times is None else times
        ids = self.store.append(topic.id, payloads, times)
        if ids:
            self.arrivals.announce(topic.id)
        return ids

    def first_unreadable(self, topic: Topic) -> tuple[int, float]:
        """Return the position before which messages can be read, and the seconds until it can."""
        return self._unreadable[topic.id].first() or (END, math.inf)

    def horizon(self, topic: Topic) -> str:
        """Return the time before which the topic's messages have expired."""
        return self.clock.stamp(ago_secs=topic.retention)
