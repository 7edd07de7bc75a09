"""Run a target that remembers with random sources, kills, faults and deviations of the service.

`python -m tests.search.chaos_published_rows [MINUTES] [SEED]`. Rounds take turns with both stores,
with and without `exactly_once`.

wrong   nights after which the topic, read to its end, differs from the source
untrue  runs whose last state covers a record that is not in the topic
twice   messages of a row in succession with the same content
"""

from __future__ import annotations

import itertools
import random
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.search.fuzz_target import ENTRIES, WHOLE
from tests.search.published_rows import SOURCES, World
from tests.support.executables import write_json
from tests.support.injection import KILL_MOMENTS, injected, killed
from tests.support.singer_lines import record, schema, state
from tests.support.target import RunningTarget
from tests.tools.demo.warehouse import Warehouse, warehouse

CHECKED = ("wrong", "untrue", "twice")
# What the service may do to look-ups.
POSITIONS: list[tuple[str, dict[str, Any]]] = [("reject_position", {}), ("no_date", {})]
# Only with `exactly_once`, which waits for such a request; it could be applied after a newer one.
LATE: list[tuple[str, dict[str, Any]]] = [("late", {"secs": 1.0})]
DEVIATIONS: list[dict[str, Any]] = [
    {},
    {"readable_after_secs": 1.0},
    {"repeat_every": 2},
    {"repeat_every": 3, "repeat_in": "next_page"},
    {"publish_ids_are_positions": False},
]
SECS = 120.0  # of a run, on a busy machine
NIGHTS = 4


class Round:
    """A source and a topic, and nights of interrupted runs and a complete one."""

    def __init__(self, emulator: Emulator, folder: Path, seed: int, database: Warehouse) -> None:
        chance = self.chance = random.Random(seed)  # noqa: S311 - repeatable, no secret
        self.emulator, self.folder = emulator, folder
        self.problems: list[str] = []
        self.counts = Counter(rounds=1)
        self.is_exact, is_file = seed % 2 == 0, seed % 4 < 2
        store = f"file://{folder}/rows.db" if is_file else f"{database.uri}?name=round_{seed}"
        self.world = World(SOURCES[seed // 4 % len(SOURCES)], chance, store)
        emulator.reset()
        self.topic = emulator.create_topic("orders")
        emulator.configure(page_limit=chance.choice([2, None]))
        emulator.deviate(self.topic, **chance.choice(DEVIATIONS))
        config = {
            "api_url": emulator.url,
            "api_token": emulator.token,
            "topics": {"*": self.topic},
            "published_rows_url": store,
            "exactly_once": self.is_exact,
            "batch_size_rows": chance.choice([1, 2, 4]),
            "max_retry_secs": 30,
            "request_timeout_secs": 5,
        }
        self.config = write_json(folder / "config.json", config)

    def play(self) -> None:
        """Play some nights, and check the topic after each."""
        chance, world = self.chance, self.world
        for _ in range(NIGHTS):
            for _ in range(chance.randrange(3)):
                self._change()
                self._run(disturbed=True)
                if chance.random() < 0.2:
                    world.states.append(chance.choice([*world.states, 0]))
            self._change()
            self._run(disturbed=False)
            last = dict(self._messages())
            source = {row: content for row, (_, content) in world.rows.items()}
            self._count("wrong", last != source, f"{last} instead of {source}")
            self.counts["nights"] += 1
        previous: dict[int, str] = {}
        twice = 0
        for row, content in self._messages():
            twice += previous.get(row) == content
            previous[row] = content
        if self.is_exact:
            self._count("twice", twice, f"{self._messages()}")
        self.counts["repeated without exactly_once"] += 0 if self.is_exact else twice
        self.counts["messages"] += len(self._messages())

    def _change(self) -> None:
        for _ in range(self.chance.randrange(12)):
            self.world.change()

    def _run(self, *, disturbed: bool) -> None:
        chance, emulator = self.chance, self.emulator
        emulator.clear_faults()
        env: dict[str, str] = {}
        kills_after: float | None = None
        if disturbed:
            self._order_faults()
            if (moment := chance.choice([*KILL_MOMENTS, None, None])) is not None:
                code = killed(moment, chance.randrange(1, 4))
                env = injected(self.folder / f"site {self.counts['runs']}", code)
            elif chance.random() < 0.8:
                kills_after = chance.uniform(0.3, 3)
        items = [*self.world.records(self.world.states[-1])]
        lines = [schema(id={"type": "integer"})]
        lines += [state(i) if isinstance(i, int) else record(id=i[0], v=i[1]) for i in items]
        target = RunningTarget("--config", self.config, env=env)
        target.feed_and_close(lines)
        if kills_after is not None:
            time.sleep(kills_after)
            target.kill()
        done = target.end(within=SECS)
        self.counts["runs"] += 1
        self.counts["killed"] += done.exit_code == -9
        self.counts["failed"] += done.exit_code > 0
        if not disturbed and done.exit_code:
            self.problems.append(f"the last run failed: {done.error_lines}")
        if not self.is_exact:
            emulator.wait_until_idle()
        if target.emitted:
            self.world.states.append(target.emitted[-1])
            self._check_state(items, target.emitted[-1])

    def _order_faults(self) -> None:
        chance = self.chance
        kinds = [*WHOLE, *ENTRIES, *POSITIONS, *(LATE if self.is_exact else ())]
        for kind, options in chance.choices(kinds, k=chance.choice([0, 1, 2, 4])):
            self.emulator.fault(kind, after=chance.randrange(6), **options)
            self.counts["faults"] += 1

    def _check_state(self, items: list[tuple[int, str] | int], emitted: int) -> None:
        """Check that the last message of a row is that before the state, or one after it."""
        end = len(items) - items[::-1].index(emitted)
        last = dict(self._messages())
        allowed: dict[int, set[str]] = {}
        for index, item in enumerate(items):
            if isinstance(item, tuple):
                row, content = item
                earlier = allowed.get(row, set()) if index >= end else set()
                allowed[row] = {*earlier, content} if index < end or earlier else set()
        untrue = {
            row for row, contents in allowed.items() if contents and last[row] not in contents
        }
        self._count("untrue", bool(untrue), f"rows {untrue} after state {emitted}")

    def _messages(self) -> list[tuple[int, str]]:
        return [(each["id"], each["v"]) for each in self.emulator.payloads(self.topic)]

    def _count(self, name: str, count: int, problem: str) -> None:
        self.counts[name] += count
        if count:
            self.problems.append(f"{name}: {problem}")


def main(minutes: float, seed: int) -> int:
    """Play rounds until the time is over, two at a time; return the exit code."""
    ends_at = time.monotonic() + minutes * 60
    counts: Counter[str] = Counter()
    numbers = itertools.count(seed)
    failed = []

    def play_rounds(database: Warehouse) -> None:
        with Emulator.start() as emulator:
            while time.monotonic() < ends_at:
                number = next(numbers)
                with tempfile.TemporaryDirectory() as folder:
                    played = Round(emulator, Path(folder), number, database)
                    try:
                        played.play()
                    except Exception as exc:  # noqa: BLE001 - counted as a failed round
                        played.problems.append(f"{type(exc).__name__}: {exc}")
                counts.update(played.counts)
                for problem in played.problems:
                    print(f"seed {number}: {problem}", flush=True)  # noqa: T201
                    failed.append(number)

    with (
        tempfile.TemporaryDirectory() as folder,
        warehouse(Path(folder, "data")) as database,
        ThreadPoolExecutor(2) as pool,
    ):
        list(pool.map(play_rounds, [database] * 2))
    for names in (("rounds", "nights", "runs", "killed", "failed", "faults", "messages"), CHECKED):
        print(", ".join(f"{counts[name]} {name}" for name in names))  # noqa: T201
    print(f"without exactly_once, {counts['repeated without exactly_once']} messages were repeated")  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    given = dict(enumerate(sys.argv[1:]))
    sys.exit(main(float(given.get(0, 30)), int(given.get(1, 1))))
