"""A random history: a source that changes, interrupted runs, and states that are resumed."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from target_workato_streams.delivery.exactly_once import deduplicator
from target_workato_streams.delivery.positions import BOOKMARK
from target_workato_streams.event_streams.errors import EventStreamsError

from tests.search.exactly_once.simulation import checks
from tests.search.exactly_once.simulation.checks import Emissions, Promise, State
from tests.search.exactly_once.simulation.run import Run
from tests.search.exactly_once.simulation.sources import Source
from tests.search.exactly_once.simulation.world import Killed, Options, Record, World

# As small as the pages and tables.
MAX_LISTED = 6
TABLES = (
    "incremental",
    "unsorted",
    "full table",
    "snapshot",
    "keyless snapshot",
    "keyless incremental",
)


def choose(options: Options, rng: random.Random) -> tuple[Source, dict[str, int]]:
    """Return a source, and the number of the topic of each of its streams."""
    streams = "ABCDEFG"[: rng.randint(1, options.streams)]
    topics = rng.randint(1, min(len(streams), options.topics))
    kinds = {stream: rng.choice(options.kinds) for stream in streams}
    routes = {
        stream: number if number < topics else rng.randrange(topics)
        for number, stream in enumerate(streams)
    }
    return Source(rng, kinds, options), routes


class History:
    """One history, which its seed determines; `trace` receives lines that describe what happens.

    A violation begins with the letter of its check: A for lost, B for duplicated, C for a state
    that is not true, D for positions that stay behind.
    """

    def __init__(self, seed: int, options: Options, trace: list[str] | None = None) -> None:
        self._rng = rng = random.Random(seed)  # noqa: S311 - no secret
        self._options = options
        self.source, routes = choose(options, rng)
        self.world = World(rng, len(set(routes.values())), options, trace)
        self.violations: list[tuple[str, str]] = []
        self.runs = 0
        self._emissions = Emissions(self.source)
        self._routes = routes
        self._states = [State()]

    @patch.object(deduplicator, "MAX_LISTED", MAX_LISTED)
    def play(self) -> bool:
        """Play the history.

        Returns:
            Whether the history counts: not if a run resumed without a position of a topic that
            was published to, because that is documented for the first run.
        """
        options, rng, world = self._options, self._rng, self.world
        state = self._states[0]
        self.source.change(rng.randint(1, options.changes))
        for _ in range(rng.randint(1, options.runs)):
            known = len(self._states)
            if options.overlapping:
                world.start_another_run = lambda state=state: self._run_another(state)
            self._run(state)
            state = self._next(state, known)
            if not options.no_position and not self._has_positions(state):
                if state in self._states[known:][-1:]:
                    self.violations.append(("C", f"{state.bookmarks}: a position is missing"))
                return bool(self.violations)
            self.source.change(rng.randint(0, options.changes))
            if rng.random() < 0.5:
                self.source.change(options.many_changes)
            world.seconds += rng.choice(options.rests)
            if world.happens(options.expire):
                world.expire()
        # With these faults, a run still completes.
        world.options = replace(options, kill=0.0, stray=0.0, expiring=0.0, overlapping=0.0)
        world.start_another_run = None
        self._run(state, is_last=True)
        emitted = self._emissions.total()
        self.violations += checks.at_the_end(self.source, world.records(), emitted)
        return True

    def _next(self, state: State, known: int) -> State:
        """Choose the state of the next run; it is never newer than the last one that was used."""
        if self._rng.random() < self._options.older_state:
            older = self._states[: self._states.index(state) + 1]
            return self._rng.choice([*older, *self._states[known:]])
        return self._states[-1] if len(self._states) > known else state

    def _has_positions(self, state: State) -> bool:
        positions = state.bookmarks.get(BOOKMARK, {})
        return all(
            str(number) in positions or not any(each.record for each in topic.messages)
            for number, topic in enumerate(self.world.topics)
        )

    def _run_another(self, state: State) -> None:
        self.world.note("  ANOTHER RUN AT ONCE")
        self.source.change(self._rng.randint(0, 3))
        self._run(state)
        self.world.note("  END OF THE OTHER RUN")

    def _run(self, state: State, *, is_last: bool = False) -> None:
        self.runs += 1
        number, last = self.runs, state
        self.world.note("RUN {} from {}", number, state.bookmarks)
        lines = list(self.source.lines(self._damaged(state)))
        self._emissions.add(state, number, (line for line in lines if isinstance(line, Record)))
        tap_dies = not is_last and self.world.happens(self._options.tap_dies)
        promised = list(checks.promises(self.source, state, lines))
        if tap_dies:
            promised = promised[: self._rng.randint(1, len(lines))]
        promises: dict[bytes, Promise] = {}

        def emit(text: bytes, emitted: bytes) -> None:
            nonlocal last
            self.world.note("    EMITTED {}", emitted.decode())
            self._check("C", promises[text])
            last = last.then(json.loads(emitted)["bookmarks"], promises[text], number)
            self._states.append(last)

        run = Run(self.world, self._routes, emit)
        try:
            run.play(self._texts(promised, promises))
            if number > 2 and run.found > self._options.max_found:
                self.violations.append(("D", f"{run.found} messages are read again"))
            if not tap_dies:
                self._check("A", checks.promise_of_run(lines))
        except Killed:
            pass
        except EventStreamsError as exc:
            self.world.note("  FAILED: {}", exc)

    def _texts(
        self, promised: Iterable[Record | Promise], promises: dict[bytes, Promise]
    ) -> Iterator[Record | bytes]:
        """Yield the lines of the tap, and store what each of its states promises."""
        for line in promised:
            if isinstance(line, Record):
                yield line
            else:
                text = json.dumps({"bookmarks": line.bookmarks}).encode()
                promises[text] = line
                yield text

    def _check(self, kind: str, promise: Promise) -> None:
        broken = checks.broken(self.source, self.world.records(), promise)
        self.violations += [(kind, f"{dict(promise.bookmarks)}: {each}") for each in broken]

    def _damaged(self, state: State) -> dict[str, Any]:
        """Return the bookmarks, with positions as of another workspace or a restored copy."""
        options, happens = self._options, self.world.happens
        bookmarks = dict(state.bookmarks)
        positions = {}
        for topic_id, position in bookmarks.pop(BOOKMARK, {}).items():
            if happens(options.no_position):
                continue
            positions[topic_id] = dict(position)
            if happens(options.other_position) and position["message_id"] is not None:
                positions[topic_id]["message_id"] = "other"
            if happens(options.no_time):
                positions[topic_id]["message_time"] = None
        return {**bookmarks, BOOKMARK: positions} if positions else bookmarks
