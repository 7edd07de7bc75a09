"""A random history: a source that changes, interrupted runs, and states that are resumed."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from msgspec import structs
from target_workato_streams.event_streams.errors import EventStreamsError
from target_workato_streams.exactly_once.positions import Position

from tests.search.exactly_once.simulation import checks
from tests.search.exactly_once.simulation.run import Run
from tests.search.exactly_once.simulation.sources import Bookmarks, Source
from tests.search.exactly_once.simulation.world import Killed, Options, Record, World

TABLES = ("incremental", "snapshot", "keyless snapshot", "keyless incremental")


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


@dataclass(frozen=True, eq=False)
class State:
    """A state that was emitted; `needed` is the least number of messages of each keyless row."""

    bookmarks: Bookmarks = field(default_factory=dict)
    positions: Mapping[int, Position] = field(default_factory=dict)
    needed: Counter[tuple[str, str]] = field(default_factory=Counter)


class History:
    """One history, which its seed determines; `trace` receives lines that describe what happens.

    `emitted` is what the tap emits in a run from each state. A violation begins with the letter of
    its check: A for lost, B for duplicated, C for a state that is not true.
    """

    def __init__(self, seed: int, options: Options, trace: list[str] | None = None) -> None:
        self._rng = rng = random.Random(seed)  # noqa: S311 - no secret
        self._options = options
        self.source, routes = choose(options, rng)
        self.world = World(rng, len(set(routes.values())), options, trace)
        self.violations: list[tuple[str, str]] = []
        self.emitted: dict[State, Counter[checks.Row]] = defaultdict(Counter)
        self.runs = self.failures = 0
        self._routes = routes
        self._states = [State()]

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
                if state.bookmarks and state is self._states[-1]:
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
        emitted = sum(self.emitted.values(), Counter())
        self.violations += checks.at_the_end(self.source, world.records(), emitted)
        return True

    def _next(self, state: State, known: int) -> State:
        """Choose the state of the next run; it is never newer than the last one that was used."""
        if self._rng.random() < self._options.older_state:
            older = self._states[: self._states.index(state) + 1]
            return self._rng.choice([*older, *self._states[known:]])
        return self._states[-1] if len(self._states) > known else state

    def _has_positions(self, state: State) -> bool:
        return all(
            number in state.positions or not any(each.record for each in topic.messages)
            for number, topic in enumerate(self.world.topics)
        )

    def _run_another(self, state: State) -> None:
        self.world.note("  ANOTHER RUN AT ONCE")
        self.source.change(self._rng.randint(0, 3))
        self._run(state)
        self.world.note("  END OF THE OTHER RUN")

    def _run(self, state: State, *, is_last: bool = False) -> None:
        self.runs += 1
        self.world.note("RUN {} from {} {}", self.runs, state.bookmarks, dict(state.positions))
        promises: list[checks.Promise] = []
        lines = list(self._lines(state, promises))
        if not is_last and self.world.happens(self._options.tap_dies):
            lines = lines[: self._rng.randint(1, len(lines))]

        def emit(number: bytes, positions: Mapping[int, Position]) -> None:
            promise = promises[int(number)]
            self.world.note("    EMITTED {} {}", promise.bookmarks, dict(positions))
            self._states.append(State(promise.bookmarks, dict(positions), promise.needed))
            self.violations += checks.of_state(self.source, self.world.records(), promise)

        try:
            Run(self.world, self._routes, self._damaged(state.positions), emit).play(lines)
        except Killed:
            pass
        except EventStreamsError as exc:
            self.failures += 1
            self.world.note("  FAILED: {}", exc)

    def _lines(self, state: State, promises: list[checks.Promise]) -> Iterator[Record | bytes]:
        """Yield the lines of the tap, and record what each of its states promises."""
        needed = Counter(state.needed)
        newest: dict[tuple[str, str], str] = {}
        emitted = list(self.source.lines(state.bookmarks))
        self.emitted[state] |= checks.emissions(emitted)
        for line in emitted:
            if not isinstance(line, Record):
                promises.append(checks.Promise(line, Counter(needed), dict(newest)))
                yield b"%d" % (len(promises) - 1)
                continue
            if line.is_keyed:
                newest[line.key] = line.content
            else:
                needed[line.key] += 1
            yield line

    def _damaged(self, positions: Mapping[int, Position]) -> dict[int, Position]:
        """Return the positions as another workspace, a restored copy or an edit leaves them."""
        options, happens = self._options, self.world.happens
        damaged = {}
        for topic_id, position in positions.items():
            if happens(options.no_position):
                continue
            is_other = happens(options.other_position) and position.message_id is not None
            damaged[topic_id] = structs.replace(
                position,
                message_id="other" if is_other else position.message_id,
                message_time=None if happens(options.no_time) else position.message_time,
            )
        return damaged
