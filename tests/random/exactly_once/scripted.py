"""Scripted histories: the target in this process, with a service whose responses are known."""

from __future__ import annotations

import json
import tempfile
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.support.messages_api import MessagesApi, batch_response, page, payloads_of, rejection
from tests.support.singer_lines import record, schema
from tests.support.target_in_process import listen

if TYPE_CHECKING:
    from collections.abc import Sequence

START = datetime(2026, 11, 24, tzinfo=timezone.utc)
KEY_FIELD = "message_key"
# Nothing that a killed process does has an effect.
KILLED = rejection("401 Unauthorized")


class Message(NamedTuple):
    """A message of a topic."""

    message_id: str
    payload: bytes
    time: str


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

    def respond(self, topic_id: int, operation: str, body: bytes) -> bytes | None:
        """Respond to a request; None to close the connection."""
        if operation == "consume":
            return self.consume(topic_id, json.loads(body))
        return self._publish(topic_id, payloads_of(body))

    def consume(self, topic_id: int, request: dict[str, Any]) -> bytes:
        """Respond with a page."""
        self.requests += 1
        if self.killed:
            return KILLED
        found = self.topics[topic_id]
        if "after_message_id" in request:
            ids = [message.message_id for message in found]
            if request["after_message_id"] not in ids:
                return rejection("404 Not Found")
            found = found[ids.index(request["after_message_id"]) + 1 :]
        elif "since_time" in request:
            found = [message for message in found if message.time > request["since_time"]]
        # Nothing is young, so nothing is waited for.
        return page(found[: request["batch_size"]], self._date(topic_id, timedelta(minutes=1)))

    def _publish(self, topic_id: int, bodies: Sequence[bytes]) -> bytes | None:
        step = self.script.popleft() if self.script else "ok"
        self.killed = self.killed or step == "kill"
        if self.killed:
            return KILLED
        records = [json.loads(body) for body in bodies]
        self.batches.append([record.get("id", record["v"]) for record in records])
        if step == "not applied":
            return None
        if step == "rejected":
            return rejection("422 Unprocessable Content")
        fails = step.failing if isinstance(step, PartlyLost) else step
        failed = set() if isinstance(fails, str) else fails
        date = self._date(topic_id)
        ids = {
            index: None if index in failed else self.store(topic_id, body)
            for index, body in enumerate(bodies)
        }
        self.killed = step == "killed"
        if step in ("lost", "killed") or isinstance(step, PartlyLost):
            return None
        return batch_response(ids, date)

    def store(self, topic_id: int, payload: bytes) -> str:
        """Append a message to a topic, and return its id."""
        messages = self.topics[topic_id]
        # Neither length nor order show which came first.
        message_id = f"A{(len(messages) + 1) * 7919 % 10007:x}"
        time = (START + self._time(topic_id)).isoformat(timespec="milliseconds")
        messages.append(Message(message_id, payload, time))
        return message_id

    def _date(self, topic_id: int, later: timedelta = timedelta()) -> str:
        return f"Date: {format_datetime(START + self._time(topic_id) + later, usegmt=True)}"

    def _time(self, topic_id: int) -> timedelta:
        return timedelta(seconds=10 * len(self.topics[topic_id]))


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
        given = [line + b"\n" for line in (*first, *schemas, *sent)]
        with (
            tempfile.TemporaryDirectory() as folder,
            MessagesApi(service.respond) as api,
        ):
            config = {
                "api_url": api.url,
                "topics": self.routes,
                "exactly_once": True,
                "message_key_field": KEY_FIELD,
                "batch_size_rows": 3,
                "max_batch_age_secs": 3600,
                "on_rejected": "dead_letter",
                "dead_letter_path": f"{folder}/dead.jsonl",
                **settings,
            }
            try:
                listen(given, self, **config)
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
        payloads = [json.loads(message.payload) for message in self.service.topics[number]]
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
