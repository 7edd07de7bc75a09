"""The state of the emulated workspace, and the requests that are passed to its operations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from weakref import WeakSet

import msgspec

from workato_streams_emulator.arrivals import Arrivals
from workato_streams_emulator.clock import Clock
from workato_streams_emulator.faults import Faults
from workato_streams_emulator.quota import Quota
from workato_streams_emulator.responses import ApiResponse, Problem
from workato_streams_emulator.settings import Settings
from workato_streams_emulator.store import Store

if TYPE_CHECKING:
    from asyncio import Transport
    from collections.abc import Mapping
    from typing import Any

    from starlette.types import Receive

    from workato_streams_emulator.faults import Fault
    from workato_streams_emulator.log import Entry
    from workato_streams_emulator.store import Topic

TOKEN = "emulator-token"
DEVELOPER_TOKEN = "emulator-developer-token"


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

    def horizon(self, topic: Topic) -> str:
        """Return the time before which the topic's messages have expired."""
        return self.clock.stamp(ago_secs=topic.retention)


def to_json(content: Any, status: int = HTTPStatus.OK) -> ApiResponse:  # noqa: ANN401 - any JSON
    """Build a JSON response."""
    return ApiResponse(msgspec.json.encode(content), status)
