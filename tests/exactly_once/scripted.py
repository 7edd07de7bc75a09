"""Scripted histories: the target in this process, with a service whose responses are known."""

from __future__ import annotations

import json
import sys
import tempfile
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import pytest
from target_workato_streams import target as from_config
from target_workato_streams.event_streams import session as retry
from target_workato_streams.event_streams.consume import Message, Messages
from target_workato_streams.event_streams.errors import RequestRejected, Unavailable
from target_workato_streams.exactly_once import topic_reader
from target_workato_streams.publishing import context as rejections
from target_workato_streams.publishing.client import PublishResult
from target_workato_streams.target import TargetWorkatoStreams

from tests.target.singer import record, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_workato_streams.event_streams.consume import Cursor
    from target_workato_streams.event_streams.session import ApiSession
    from target_workato_streams.publishing.summary import Tally

START = datetime(2026, 11, 24, tzinfo=timezone.utc)
KEY_FIELD = "message_key"


class Killed(Exception):
    """The process has been killed: nothing that it does from now on has an effect."""


class PartlyLost(NamedTuple):
    """A batch is applied except for these entries, and its response is lost."""

    failing: set[int]


Step = str | set[int] | PartlyLost


@dataclass
class Service:
    """Topics, with scripted responses to publish requests.

    Attributes:
        topics: The messages of each topic.
        script: "ok", "lost" (applied), "not applied" (and no response), "kill" (before the request)
            or "killed" (after it is applied), "rejected", `PartlyLost`, or the indices of the
            entries that fail; then "ok".
        batches: The rows of each publish request; of records without a key, their versions.
        requests: The number of consume requests.
        killed: Whether the process has been killed.
    """

    topics: list[list[Message]]
    script: deque[Step] = field(default_factory=deque)
    batches: list[list[str]] = field(default_factory=list)
    requests: int = 0
    killed: bool = False

    def publish(self, topic_id: int, bodies: Sequence[bytes]) -> PublishResult:
        """Publish a batch."""
        step = self.script.popleft() if self.script else "ok"
        self.killed = self.killed or step == "kill"
        if self.killed:
            raise Killed
        records = [json.loads(body) for body in bodies]
        self.batches.append([record.get("id", record["v"]) for record in records])
        if step == "not applied":
            raise Unavailable("no response")
        if step == "rejected":
            raise RequestRejected("rejected", status=422, reason="rejected")
        fails = step.failing if isinstance(step, PartlyLost) else step
        failed = set() if isinstance(fails, str) else fails
        ids = [self.store(topic_id, body) for n, body in enumerate(bodies) if n not in failed]
        if step == "killed":
            self.killed = True
            raise Killed
        if step == "lost" or isinstance(step, PartlyLost):
            raise Unavailable("no response")
        last = self.topics[topic_id][-1].time if ids else None
        return PublishResult(dict.fromkeys(failed, "failed"), (), ids[-1] if ids else None, last)

    def consume(self, topic_id: int, cursor: Cursor, batch_size: int) -> Messages:
        """Consume a page."""
        self.requests += 1
        if self.killed:
            raise Killed
        found = self.topics[topic_id]
        if cursor.after_message_id is not None:
            ids = [message.message_id for message in found]
            if cursor.after_message_id not in ids:
                raise RequestRejected("no such message", status=400, reason="no such message")
            found = found[ids.index(cursor.after_message_id) + 1 :]
        elif cursor.since_time is not None:
            found = [message for message in found if message.time > cursor.since_time]
        # Nothing is young, so nothing is waited for.
        now = START + timedelta(minutes=1) + self._time(topic_id)
        return Messages(found[:batch_size], now)

    def store(self, topic_id: int, payload: bytes) -> str:
        """Append a message to a topic, and return its id."""
        messages = self.topics[topic_id]
        # Neither length nor order show which came first.
        message_id = f"A{(len(messages) + 1) * 7919 % 10007:x}"
        time = (START + self._time(topic_id)).isoformat(timespec="milliseconds")
        messages.append(Message(message_id, msgspec.Raw(payload), time))
        return message_id

    def _time(self, topic_id: int) -> timedelta:
        return timedelta(seconds=10 * len(self.topics[topic_id]))


class Client:
    """A simulated connection to one topic."""

    def __init__(self, service: Service, topic_id: int, session: ApiSession) -> None:
        self.session = session
        self.requests = 0
        self._service = service
        self._topic_id = topic_id

    def publish(self, bodies: Sequence[bytes], tally: Tally) -> PublishResult:
        """Publish a batch."""
        tally.requests += 1
        return self._service.publish(self._topic_id, bodies)

    def consume(self, cursor: Cursor, *, batch_size: int, timeout_secs: int = 0) -> Messages:  # noqa: ARG002
        """Consume a page."""
        self.requests += 1
        return self._service.consume(self._topic_id, cursor, batch_size)

    def close(self) -> None:
        """Do nothing."""


class Pipeline:
    """A pipeline whose state is kept from run to run, as Meltano does.

    Args:
        topics: The number of topics.
        routes: The topic of each stream.

    Attributes:
        states: The states that were emitted.
    """

    def __init__(self, topics: int = 1, **routes: int) -> None:
        self.service = Service([[] for _ in range(topics)])
        self.routes = routes or {"a": 0}
        self.states: list[dict[str, Any]] = []

    @property
    def state(self) -> dict[str, Any]:
        """The stored state."""
        return self.states[-1] if self.states else {}

    def run(
        self,
        *sent: bytes,
        script: Sequence[Step] = (),
        keys: tuple[str, ...] = ("id",),
        first_state: bool = True,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> list[dict[str, Any]]:
        """Run the target with the stored state; it may be killed, but must not fail.

        Args:
            sent: The lines of the tap after its first state and its schemas.
            script: What happens to the publish requests.
            keys: The key properties of all streams.
            first_state: Whether the tap first emits the state that it was given.
            settings: The settings of the target.

        Returns:
            The states that were emitted.
        """
        service, known = self.service, len(self.states)
        service.killed = False
        service.script = deque(script)
        first = [state_line(self.state)] if first_state else []
        text = {"type": "string"}
        schemas = [schema(stream, keys, id=text, v=text) for stream in self.routes]
        given: Any = [line + b"\n" for line in (*first, *schemas, *sent)]
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setattr(rejections, "FIRST_WAIT_SECS", 0)
            patch.setattr(rejections.EntryRetries, "may_retry", lambda *args: args[-1] < 3)
            patch.setattr(retry, "LONGEST_WAIT_SECS", 0)
            patch.setattr(topic_reader, "SECS_BETWEEN_REPEATS", 0)
            patch.setattr(TargetWorkatoStreams, "_setup_signal_handlers", lambda _self: None)
            for name in ("PublishClient", "ConsumeClient"):
                patch.setattr(
                    from_config,
                    name,
                    lambda session, topic_id, _split=None: Client(service, topic_id, session),
                )
            patch.setattr(sys, "stdout", SimpleNamespace(buffer=self))
            config = {
                "api_token": "token",
                "topics": self.routes,
                "exactly_once": True,
                "message_key_field": KEY_FIELD,
                "batch_size_rows": 3,
                "max_batch_age_secs": 3600,
                "max_retry_secs": 10**6,
                "on_rejected": "dead_letter",
                "dead_letter_path": f"{folder}/dead.jsonl",
                **settings,
            }
            try:
                TargetWorkatoStreams(config=config).listen(given)
            except Exception:
                if not service.killed:
                    raise
        return self.states[known:]

    def write(self, line: memoryview | bytes) -> int:
        """Store a state that the target emits."""
        if not self.service.killed:
            self.states.append(json.loads(bytes(line)))
        return len(line)

    def flush(self) -> None:
        """Nothing is buffered."""

    def topic(self, number: int = 0) -> list[str]:
        """Return the row and the version of each message in a topic."""
        payloads = [json.loads(bytes(message.payload)) for message in self.service.topics[number]]
        return [f"{payload.get('id', '')}{payload.get('v', '')}" for payload in payloads]

    def bookmark(self, at: int) -> bytes:
        """Return a STATE line with the tap's bookmark and the rest of the stored state."""
        return state_line({"bookmarks": {**self.state.get("bookmarks", {}), "a": {"at": at}}})


def state_line(value: dict[str, Any]) -> bytes:
    """Return a STATE line."""
    return json.dumps({"type": "STATE", "value": value}).encode()


def row(name: str, version: str, stream: str = "a") -> bytes:
    """Return a RECORD line of a keyed row."""
    return record(stream, s=stream, id=name, v=version)


def keyless(version: str, stream: str = "a") -> bytes:
    """Return a RECORD line of a row without a key."""
    return record(stream, s=stream, v=version)
