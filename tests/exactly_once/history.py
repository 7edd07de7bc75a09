"""A random history: a source that changes, runs that are killed, and states that are resumed."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tests.exactly_once.checks import untrue, wrong_at_the_end
from tests.exactly_once.process import run_target
from tests.exactly_once.service import Faults, Service
from tests.exactly_once.sources import Snapshot, Source

if TYPE_CHECKING:
    from collections.abc import Mapping

KINDS: Mapping[str, tuple[str, ...]] = {
    "log": ("log",),
    "keyless log": ("keyless log",),
    "mixed log": ("log", "keyless log"),
    "incremental": ("incremental",),
    "snapshot": ("snapshot",),
    "keyless snapshot": ("keyless snapshot",),
    "keyless incremental": ("keyless incremental",),
    "mixed tables": ("incremental", "snapshot", "keyless snapshot", "keyless incremental"),
}


@dataclass(frozen=True)
class Options:
    """What may happen in a history.

    Args:
        kind: The kind of its source.
        streams: The maximum number of streams.
        topics: The maximum number of topics.
        runs: The maximum number of runs that may be killed, before the last one.
        changes: The maximum number of changes of the source before a run.
        older_state: The probability that a run resumes from any state that was emitted.
        faults: The probabilities of faults.
        tap_dies: The probability that the tap of a run dies, which may duplicate messages.
        source: Further arguments of `Source`.
    """

    kind: str = "log"
    streams: int = 2
    topics: int = 2
    runs: int = 4
    changes: int = 12
    older_state: float = 0.2
    tap_dies: float = 0.0
    faults: Faults = field(default_factory=Faults)
    source: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Saved:
    """A state that was emitted."""

    value: dict[str, Any] = field(default_factory=dict)
    promise: Snapshot = field(default_factory=Snapshot)

    def has_position_of(self, topic_id: int) -> bool:
        """Whether the state has a position for a topic."""
        positions = self.value.get("bookmarks", {}).get("target-workato-streams", {})
        return str(topic_id) in positions


class History:
    """One history.

    Args:
        seed: Determines the history, except the order of events in different topics.
        options: What may happen in it.

    Attributes:
        service: The topics.
        violations: What was wrong; should be empty.
        runs: The number of runs.
    """

    def __init__(self, seed: int, options: Options) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - no secret
        self._options = options
        names = "ABCDEFG"[: self._rng.randint(1, options.streams)]
        topics = self._rng.randint(1, min(len(names), options.topics))
        kinds = {name: self._rng.choice(KINDS[options.kind]) for name in names}
        self.routes = {
            name: number if number < topics else self._rng.randrange(topics)
            for number, name in enumerate(names)
        }
        self.source = Source(self._rng, kinds, **options.source)
        self.output_rng = random.Random(seed + 1)  # noqa: S311 - likewise
        self.service = Service(seed, topics, options.faults)
        self.saved = [Saved()]
        self._resumed = self.saved[0]
        self.violations: list[str] = []
        self.runs = 0

    def play(self) -> bool:
        """Play the history.

        Returns:
            Whether the history counts: not if a run would resume without the position of a topic
            that was published to.
        """
        rng = self._rng
        resumed = self.saved[0]
        self.source.change(rng.randint(1, self._options.changes))
        for _ in range(rng.randint(1, self._options.runs)):
            known = len(self.saved)
            self._run(resumed)
            if rng.random() < self._options.older_state:
                resumed = rng.choice(self.saved)
            elif len(self.saved) > known:
                resumed = self.saved[-1]
            if not self._has_positions(resumed):
                return False
            self.source.change(rng.randint(0, self._options.changes))
        self.service.faults = Faults(0, self._options.faults.lost, self._options.faults.partial)
        self._run(resumed, may_die=False)
        exact = not self._options.tap_dies
        self.violations += wrong_at_the_end(self.service, self.source, exact=exact)
        return True

    def emit(self, line: bytes) -> None:
        """Store a state that the target emits, and check immediately whether it is true."""
        with self.service.lock:
            if self.service.killed:
                return
            value = json.loads(line)
            self.service.note(f"    EMIT {value}")
            at = _at(value)
            # Rows that an earlier run delivered may have changed since.
            again = at == _at(self._resumed.value)
            promise = self._resumed.promise if again else self.source.snapshots[at]
            self.saved.append(Saved(value, promise))
            self.violations += untrue(promise, self.service, self.source)

    def _run(self, resumed: Saved, *, may_die: bool = True) -> None:
        self.runs += 1
        self._resumed = Saved(resumed.value, replace(resumed.promise, newest={}))
        self.service.killed = False
        self.service.note(f"RUN {self.runs} from {resumed.value}")
        lines = self.source.lines(resumed.value, self._resumed.promise, self.runs)
        if may_die and self._rng.random() < self._options.tap_dies:
            # After its first state and its schemas.
            first = 1 + len(self.source.kinds)
            lines = lines[: self._rng.randint(first, len(lines))]
        run_target(self, lines, self._rng)

    def _has_positions(self, saved: Saved) -> bool:
        return all(
            saved.has_position_of(topic_id)
            for topic_id, topic in self.service.by_id.items()
            if any(message.stream for message in topic.messages)
        )


def _at(value: dict[str, Any]) -> int:
    """Return the number of the source's state; 0 for none."""
    return int(value.get("bookmarks", {}).get("source", {}).get("at", 0))
