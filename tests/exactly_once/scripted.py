"""Scripted histories, in which the response to each request is known."""

from __future__ import annotations

import json
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from typing_extensions import override

from tests.exactly_once.process import run_target
from tests.exactly_once.service import BatchRejected, Faults, Killed, Lost, Service
from tests.target.singer import record, schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.exactly_once.service import Topic

NOTHING = Faults(0, 0, 0, 0)


class PartlyLost(NamedTuple):
    """A batch is applied except for these entries, and its response is lost."""

    failing: set[int]


Step = str | set[int] | PartlyLost


@dataclass
class ScriptedService(Service):
    """A service whose response to each publish request is scripted.

    Attributes:
        script: "ok", "lost" (applied), "not applied" (and no response), "kill" (before the request)
            or "killed" (after it is applied), `PartlyLost`, or the indices of the entries that
            fail; then "ok".
    """

    script: deque[Step] = field(default_factory=deque)
    batches: list[list[Any]] = field(default_factory=list)

    @override
    def publish(self, topic_id: int, bodies: Sequence[bytes]) -> list[str | None]:
        step = self.script.popleft() if self.script else "ok"
        if self.killed or step == "kill":
            self.killed = True
            raise Killed
        records = [json.loads(body) for body in bodies]
        self.batches.append([record.get("id", record["v"]) for record in records])
        if step == "not applied":
            raise Lost
        if step == "rejected":
            raise BatchRejected
        topic = self.by_id[topic_id]
        fails = step.failing if isinstance(step, PartlyLost) else step
        fails = set() if isinstance(fails, str) else fails
        ids = [
            None if index in fails else self._store(topic, body, each)
            for index, (body, each) in enumerate(zip(bodies, records, strict=True))
        ]
        if step == "killed":
            self.killed = True
            raise Killed
        if step == "lost" or isinstance(step, PartlyLost):
            raise Lost
        return ids

    @override
    def _page_size(self, topic: Topic) -> int:
        return 50


class Pipeline:
    """A pipeline whose state is kept from run to run, as Meltano does.

    Args:
        topics: The number of topics.
        routes: The topic of each stream.
    """

    def __init__(self, topics: int = 1, **routes: int) -> None:
        self.service = ScriptedService(0, topics, NOTHING)
        self.routes = routes or {"a": 0}
        self.output_rng = random.Random(0)  # noqa: S311 - no secret
        self.states: list[dict[str, Any]] = []

    @property
    def state(self) -> dict[str, Any]:
        """The stored state."""
        return self.states[-1] if self.states else {}

    def emit(self, line: bytes) -> None:
        """Store a state."""
        if not self.service.killed:
            self.states.append(json.loads(line))

    def run(
        self,
        *sent: bytes,
        script: Sequence[Step] = (),
        keys: tuple[str, ...] = ("id",),
        first_state: bool = True,
        **settings: Any,  # noqa: ANN401 - settings are JSON
    ) -> list[dict[str, Any]]:
        """Run the target with the stored state.

        Args:
            sent: The lines of the tap after its first state and its schemas.
            script: What happens to the publish requests.
            keys: The key properties of all streams.
            first_state: Whether the tap first emits the state that it was given.
            settings: The settings of the target.

        Returns:
            The states that were emitted.
        """
        known = len(self.states)
        self.service.killed = False
        self.service.script = deque(script)
        first = [state_line(self.state)] if first_state else []
        text = {"type": "string"}
        schemas = [schema(stream, keys, id=text, v=text) for stream in self.routes]
        given = [line + b"\n" for line in (*first, *schemas, *sent)]
        run_target(self, given, _Never(), **settings)
        return self.states[known:]

    def topic(self, number: int = 0) -> list[str]:
        """Return the row and the version of each message in a topic."""
        return [f"{m.row}{m.version}" for m in self.service.by_id[number].messages]

    def bookmark(self, at: int) -> bytes:
        """Return a STATE line with the tap's bookmark and the rest of the stored state."""
        return state_line({"bookmarks": {**self.state.get("bookmarks", {}), "a": {"at": at}}})


class _Never(random.Random):
    """Always chooses the last option, and never what is improbable."""

    @override
    def random(self) -> float:
        return 1.0

    @override
    def choice(self, seq: Any) -> Any:
        return seq[-1]


def state_line(value: dict[str, Any]) -> bytes:
    """Return a STATE line."""
    return json.dumps({"type": "STATE", "value": value}).encode()


def row(name: str, version: str, stream: str = "a") -> bytes:
    """Return a RECORD line of a keyed row."""
    return record(stream, s=stream, id=name, v=version)


def keyless(version: str, stream: str = "a") -> bytes:
    """Return a RECORD line of a row without a key."""
    return record(stream, s=stream, v=version)
