"""Kill the executable at random: `python -m tests.search.exactly_once.chaos [MINUTES] [SEED]`.

Rounds have random sources, which change between the runs, and random backlogs, lost responses,
partial results, 5xx, SIGKILL and SIGTERM; in most of them, the service deviates from an ideal one.
A run resumes from a state that the last run has emitted or was given, or from an earlier one that
has a position for each topic that was published to.
"""

import contextlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.search.exactly_once.simulation import checks
from tests.search.exactly_once.simulation.campaign import SOURCES
from tests.search.exactly_once.simulation.checks import Emissions, Promise, State
from tests.search.exactly_once.simulation.history import choose
from tests.search.exactly_once.simulation.sources import KEYED, Bookmarks
from tests.search.exactly_once.simulation.world import Record
from tests.search.fuzz_target import WHOLE
from tests.support.exactly_once import OURS, state_line
from tests.support.executables import write_json
from tests.support.singer_lines import record, schema
from tests.support.target import RunningTarget

FAULTS = [
    *WHOLE,
    ("stall", {"secs": 3, "stored": True}),
    ("stall", {"secs": 3, "stored": False}),
    ("missing_entry", {"stored": True}),
    ("missing_entry", {"stored": False}),
    ("entry_error", {}),
]
# Longer than the latency of these: what a killed process has sent is applied by then.
QUIET_SECS = 0.3
# The seconds by which messages are readable late, and requests applied late. The documentation
# names a run that starts earlier after a kill as a case in which messages are duplicated.
LATE_SECS = 2
# The bookmark with the number of a line, by which an emitted state is recognized. It says nothing
# about where the tap resumes.
LINE, NUMBER = "line", "replication_key_signpost"
MAX_RUNS = 40


@dataclass(frozen=True)
class Deviation:
    """A way in which the service deviates."""

    topic: Mapping[str, Any] = field(default_factory=dict)  # for `Emulator.deviate`, of each topic
    faults: Sequence[Mapping[str, Any]] = ()  # for `Emulator.fault`, before some of the runs
    quiet_secs: float = QUIET_SECS  # the pause between two runs
    other_positions: bool = False  # some runs get positions that the service does not know
    expected: str = ""  # what may happen: "A", messages are lost, or "B", duplicated


DEVIATIONS = {
    "none": Deviation(),
    "readable late": Deviation({"readable_after_secs": LATE_SECS}, quiet_secs=LATE_SECS + 0.5),
    "delivered twice": Deviation({"repeat_every": 3}),
    # A message before the position that comes again after it is taken for a later one.
    "delivered twice, in two pages": Deviation(
        {"repeat_every": 3, "repeat_in": "next_page"}, expected="AB"
    ),
    # A position that is rejected three times in succession is documented as a rejected position.
    "transient rejections": Deviation(
        faults=[
            {"kind": "reject_position", "times": 2, "status": 400},
            {"kind": "reject_position", "times": 1, "status": 404, "after": 3},
        ]
    ),
    "applied late": Deviation(
        faults=[{"kind": "late", "operation": "batch", "secs": LATE_SECS}],
        quiet_secs=LATE_SECS + 0.5,
    ),
    "one topic unavailable": Deviation(
        faults=[{"kind": "status", "status": 503, "headers": {"Retry-After": "2"}, "after": 3}]
    ),
    # The documentation says that messages may be duplicated.
    "unknown positions": Deviation(other_positions=True, expected="B"),
}


class Round:
    """One source and its topics, from the first run to the one that completes it.

    The seed determines it, except for the moments at which runs are interrupted.
    """

    def __init__(self, emulator: Emulator, seed: int, folder: Path) -> None:
        self.emulator = emulator
        self.rng = rng = random.Random(seed)  # noqa: S311 - no secret
        self.counts: Counter[str] = Counter()
        self.states = [State()]
        self.kind = rng.choice(list(SOURCES))
        options = replace(
            SOURCES[self.kind],
            rows=rng.choice((3, 30, 3000)),
            burst=rng.choice((0.5, 0.98, 0.999)),
            states=rng.choice((1.0, 0.15, 0.02, 0.003)),
            newest_first=rng.random() < 0.5,
        )
        self.source, routes = choose(options, rng)
        self.emissions = Emissions(self.source)
        self.source.change(rng.choice((30, 300, 2000)))
        self.name = rng.choice(list(DEVIATIONS))
        self.deviation = DEVIATIONS[self.name]
        topics = [emulator.create_topic(f"t{number}") for number in set(routes.values())]
        for topic in topics:
            emulator.deviate(topic, **self.deviation.topic)
        self.routes = {stream: topics[number] for stream, number in routes.items()}
        self.config = write_json(
            folder / "config.json",
            {
                "api_url": emulator.url,
                "api_token": emulator.token,
                "topics": self.routes,
                "exactly_once": True,
                "message_key_field": "key",
                "batch_size_rows": rng.choice((3, 20, 100)),
                "max_batch_age_secs": rng.choice((0, 0.2, 5)),
                "request_timeout_secs": 1,
                "max_retry_secs": 20,
            },
        )

    def play(self) -> list[str]:
        """Play the round, and return what is wrong in the topics after the last run."""
        state = 0
        for _ in range(self.rng.randint(1, 6)):
            known = len(self.states)
            self._run(state, final=False)
            state = self._next(state, known)
            self.source.change(self.rng.choice((0, 0, 10, 200, 1500)))
        for _ in range(MAX_RUNS):
            known = len(self.states)
            if self._run(state, final=True):
                return self._violations()
            state = len(self.states) - 1 if len(self.states) > known else state
        return [f"not complete after {MAX_RUNS} runs"]

    def _next(self, state: int, known: int) -> int:
        """Choose the state of the next run, which is never newer than the last one used."""
        emitted = list(range(known, len(self.states)))
        if self.rng.random() < 0.25:
            earlier: int = self.rng.choice([*range(state + 1), *emitted])
            written = {
                topic
                for topic in self.routes.values()
                if any("key" in payload for payload in self.emulator.payloads(topic))
            }
            positions = self.states[earlier].bookmarks.get(OURS, {})
            if written <= {int(topic) for topic in positions}:
                self.counts["older states"] += earlier not in emitted[-1:]
                return earlier
        return emitted[-1] if emitted else state

    def _texts(self, lines: Sequence[Record | Bookmarks]) -> Iterator[bytes]:
        for stream, kind in self.source.kinds.items():
            yield schema(stream, ("id",) if kind in KEYED else ())
        for number, each in enumerate(lines):
            if isinstance(each, Record):
                # An update of a table is another version, even if the row was like this before.
                update = {} if self.source.is_log or not each.is_keyed else {"n": each.update}
                yield record(each.stream, s=each.stream, id=each.row, v=each.content, **update)
            else:
                yield state_line(**{**each, LINE: {NUMBER: number}})

    def _run(self, number: int, *, final: bool) -> bool:
        """Run the target.

        Returns:
            Whether the run was the final one, and has succeeded.
        """
        self.counts["runs"] += 1
        state, run = self.states[number], self.counts["runs"]
        bookmarks = state.bookmarks
        if self.deviation.other_positions and self.rng.random() < 0.5:
            bookmarks = self._with_other_positions(bookmarks)
        self._order_faults(final=final)
        lines = list(self.source.lines(bookmarks))
        self.emissions.add(state, run, (line for line in lines if isinstance(line, Record)))
        target = RunningTarget("--config", self.config)
        fed = list(self._texts(lines))
        feeder = threading.Thread(target=self._feed, args=(target, fed), daemon=True)
        feeder.start()
        if not final:
            self._interrupt(target)
        outcome = target.end(within=120)
        feeder.join(10)
        time.sleep(self.deviation.quiet_secs)
        self.emulator.clear_faults()
        complete = outcome.stdout[: outcome.stdout.rfind(b"\n") + 1]
        for text in complete.splitlines():
            bookmarks = json.loads(text)["bookmarks"]
            following = lines[bookmarks.pop(LINE)[NUMBER] :]
            promise = Promise(bookmarks, checks.finished(self.source, following))
            state = state.then(bookmarks, promise, run)
            self.states.append(state)
        retried = [line for line in outcome.stderr.splitlines() if "; retrying in " in line]
        self.counts["lost responses"] += sum("429" not in line for line in retried)
        if "Traceback" in outcome.stderr:
            raise AssertionError(outcome.stderr)
        return outcome.exit_code == 0 and final

    def _feed(self, target: RunningTarget, fed: Sequence[bytes]) -> None:
        size, pause = (20, 0.02) if self.rng.random() < 0.3 else (500, 0)
        # The target may be killed.
        with contextlib.suppress(BrokenPipeError, ValueError):
            for start in range(0, len(fed), size):
                target.feed(*fed[start : start + size])
                time.sleep(pause)
            target.close_input()

    def _interrupt(self, target: RunningTarget) -> None:
        """Kill or stop the target, some time after it has emitted its first state."""
        deadline = time.monotonic() + 20
        while not target.stdout and target.is_running and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(self.rng.random() ** 2 * 2)
        if target.is_running:
            chosen = self.rng.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM))
            self.counts[chosen.name] += 1
            target.send(chosen)

    def _order_faults(self, *, final: bool) -> None:
        for fault in self.deviation.faults:
            if self.rng.random() < 0.7:
                topic = self.rng.choice(list(self.routes.values()))
                self.emulator.fault(topic_id=topic, **fault)
        for _ in range(self.rng.randint(0, 2 if final else 8)):
            kind, options = self.rng.choice(FAULTS)
            if "entry" in kind:
                options = {**options, "indices": self.rng.sample(range(8), self.rng.randint(1, 4))}
            operation = self.rng.choice(("batch", "batch", "*"))
            after = self.rng.randint(0, 12)
            self.emulator.fault(kind, operation=operation, after=after, **options)
            self.counts["faults injected"] += 1
        if self.rng.random() < 0.5:
            for topic in set(self.routes.values()):
                self.emulator.load(topic, [{"of": "others"}] * self.rng.randint(1, 120))

    def _with_other_positions(self, bookmarks: Bookmarks) -> Bookmarks:
        """Return bookmarks with positions as of another workspace."""
        changed: dict[str, Any] = json.loads(json.dumps(bookmarks))
        for position in changed.get(OURS, {}).values():
            if position["message_id"] is not None:
                position["message_id"] = "Z9"
                self.counts["unknown positions"] += 1
        return changed

    def _violations(self) -> list[str]:
        found = [
            Record(
                payload["s"],
                payload["id"],
                payload["v"],
                payload.get("n", 0),
                is_keyed=self.source.kinds[payload["s"]] in KEYED,
            )
            for topic in set(self.routes.values())
            for payload in self.emulator.payloads(topic)
            if "key" in payload
        ]
        self.counts["messages"] += len(found)
        expected = self.deviation.expected
        violations = list(checks.at_the_end(self.source, found, self.emissions.total()))
        wrong = [f"{kind}: {text:.300}" for kind, text in violations if kind not in expected]
        self.counts["expected violations"] += len(violations) - len(wrong)
        return wrong


def main(minutes: float, seed: int) -> int:
    """Play rounds until the time is over or one has an error."""
    ends_at = time.monotonic() + 60 * minutes
    counts: Counter[str] = Counter()
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < ends_at:
            emulator.reset()
            one = Round(emulator, seed, Path(folder))
            wrong = one.play()
            counts.update(one.counts, rounds=1)
            print(f"seed {seed}: {one.kind}, {one.name}: {dict(one.counts)}", flush=True)  # noqa: T201
            if wrong:
                print("A is lost, B is duplicated", *wrong[:20], sep="\n")  # noqa: T201
                return 1
            seed += 1
    print(", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())))  # noqa: T201
    print("0 lost, 0 out of order, 0 duplicated but those that are expected")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(float((sys.argv[1:2] or ["5"])[0]), int((sys.argv[2:3] or ["0"])[0])))
