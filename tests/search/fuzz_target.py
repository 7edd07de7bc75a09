"""Run the target with random records, states, faults and signals.

`python -m tests.search.fuzz_target [ROUNDS] [SEED]`
"""

import itertools
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import write_json
from tests.support.singer_lines import record, schema, state
from tests.support.target import RunningTarget

# The kinds of faults, their options, and whether they allow later messages to overtake one.
WHOLE: list[tuple[str, dict[str, Any]]] = [
    ("reset", {}),
    ("reset_after", {}),
    ("cut", {}),
    ("cut_json", {}),
    ("html", {}),
    ("garbage", {}),
    ("garbage", {"body": '{"message_ids": {}}'}),
    ("stall", {"secs": 0.3, "stored": True}),
    ("stall", {"secs": 0.3, "stored": False}),
    ("status", {"status": 500, "stored": True}),
    ("status", {"status": 502}),
    ("status", {"status": 503, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 408, "stored": True}),
    ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
    ("latency", {"secs": 0.1}),
]
ENTRIES: list[tuple[str, dict[str, Any]]] = [
    ("entry_error", {"indices": [0, 2]}),
    ("missing_entry", {"indices": [1], "stored": True}),
    ("missing_entry", {"indices": [0, 3], "stored": False}),
]
PROMISES = ("lost records", "untrue states", "records out of order", "good records rejected")
CHECKED = [{"name": "n", "type": "integer", "optional": False}]
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
MAX_RUNS = 6
SECS = 60.0


class Round:
    """Random input and settings, and runs with faults until everything is published."""

    def __init__(self, emulator: Emulator, seed: int) -> None:
        self.emulator = emulator
        self.problems: list[str] = []
        self.counts: Counter[str] = Counter()
        chance = self.chance = random.Random(seed)  # noqa: S311 - repeatable, no secret
        emulator.reset()
        self.partial = chance.random() < 0.3
        emulator.configure(rejection="partial" if self.partial else "status")
        self.topics = [emulator.create_topic(f"t{n}", schema=CHECKED) for n in range(2)]
        self.route = {name: chance.choice(self.topics) for name in "abc"}
        count = chance.randint(20, 300)
        bad_share = chance.choice([0, 0, 0.02, 0.5])
        self.streams = [chance.choice("abc") for _ in range(count)]
        self.bad = {n for n in range(count) if chance.random() < bad_share}
        self.states = {n for n in range(count) if chance.random() < chance.choice([0.02, 0.3])}
        self.in_flight = chance.choice([1, 1, 1, 3])
        self.settings: dict[str, Any] = {
            "topics": self.route,
            "batch_size_rows": chance.choice([1, 3, 10, 50]),
            "max_batch_age_secs": chance.choice([0, 0.1, 2]),
            "max_in_flight": self.in_flight,
            "max_retry_secs": 20,
            "request_timeout_secs": 5,
            "stream_maps": {"*": {}} if chance.random() < 0.2 else {},
        }

    def play(self) -> None:
        """Run the target until everything is published, and check the result of each run."""
        with tempfile.TemporaryDirectory() as folder:
            self.dead = Path(folder) / "dead.jsonl"
            config = {
                "api_url": self.emulator.url,
                "api_token": self.emulator.token,
                "dead_letter_path": str(self.dead),
                **self.settings,
            }
            self.config = write_json(Path(folder) / "config.json", config)
            start = 0
            for run in range(MAX_RUNS):
                completed, start = self._run(start, disturbed=run < MAX_RUNS - 1)
                if completed or self.problems:
                    break
            else:
                self.problems.append("the last run did not complete")
            lost = set(range(len(self.streams))) - self._published() - self._rejected()
            self.counts["lost records"] += len(lost)
            if lost:
                self.problems.append(f"lost: {sorted(lost)[:10]}")

    def _run(self, start: int, *, disturbed: bool) -> tuple[bool, int]:
        """Run the target once; return whether it completed, and the record to resume from.

        The emulator processes requests that it has received shortly after the target exits.
        """
        chance = self.chance
        before = [len(self.emulator.messages(topic)) for topic in self.topics]
        self.emulator.clear_faults()
        faults = self._order_faults() if disturbed else []
        target = RunningTarget("--config", self.config)
        signalled = disturbed and chance.random() < 0.6
        target.feed_and_close(self._lines(start))
        if signalled:
            time.sleep(chance.uniform(0.3, 2.5))
            target.send(chance.choice(SIGNALS))
        done = target.end(within=SECS)
        emitted = target.emitted
        time.sleep(0.4)
        self.counts.update(runs=1, signals=int(signalled), faults=len(faults))
        resume = emitted[-1] + 1 if emitted else start
        self._check_states(emitted, start)
        if self.in_flight == 1 and not self.partial and not any(f in ENTRIES for f in faults):
            self._check_order(before)
        completed = done.exit_code == 0 and (not signalled or resume == len(self.streams))
        if not disturbed and done.exit_code:
            self.problems.append(f"the last run failed: {done.error_lines}")
        return completed and resume == len(self.streams), resume

    def _order_faults(self) -> list[tuple[str, dict[str, Any]]]:
        chance = self.chance
        kinds = WHOLE if chance.random() < 0.6 else [*WHOLE, *ENTRIES]
        faults = [chance.choice(kinds) for _ in range(chance.choice([0, 1, 3, 8]))]
        for kind, options in faults:
            times, after = chance.choice([1, 1, 2]), chance.randint(0, 30)
            self.emulator.fault(kind, times=times, after=after, **options)
        return faults

    def _lines(self, start: int) -> list[bytes]:
        lines = [schema(name, ("n",), n={}) for name in "abc"]
        for number in range(start, len(self.streams)):
            value = str(number) if number in self.bad else number
            lines.append(record(self.streams[number], n=value, pad="x" * (number % 70)))
            if number in self.states or number == len(self.streams) - 1:
                lines.append(state(number))
        return lines

    def _published(self) -> set[int]:
        return {p["n"] for topic in self.topics for p in self.emulator.payloads(topic)}

    def _rejected(self) -> set[int]:
        lines = self.dead.read_bytes().split(b"\n")[:-1] if self.dead.exists() else []
        return {int(json.loads(line)["record"]["n"]) for line in lines if b'"RECORD"' in line}

    def _check_states(self, emitted: list[int], start: int) -> None:
        """Check that emitted states cover only records that are published or dead letters."""
        covered = emitted[-1] if emitted else start - 1
        untrue = set(range(covered + 1)) - self._published() - self._rejected()
        if untrue or emitted != sorted(set(emitted)):
            self.counts["untrue states"] += 1
            self.problems.append(f"states {emitted[-3:]} cover unpublished {sorted(untrue)[:10]}")
        if unexpected := self._rejected() - self.bad:
            self.counts["good records rejected"] += len(unexpected)
            self.problems.append(f"good records in the dead-letter file: {sorted(unexpected)[:10]}")

    def _check_order(self, before: list[int]) -> None:
        """Check that the first copies of all messages are in the order of the input."""
        for topic, count in zip(self.topics, before, strict=True):
            numbers = [payload["n"] for payload in self.emulator.payloads(topic)[count:]]
            firsts = list(dict.fromkeys(numbers))
            if firsts != sorted(firsts):
                self.counts["records out of order"] += sum(
                    one > other for one, other in itertools.pairwise(firsts)
                )
                self.problems.append(f"topic {topic} is out of order: {firsts}")


def main(rounds: int, seed: int) -> int:
    """Run the rounds, two at a time, print the counts, and return the exit code."""
    counts: Counter[str] = Counter(dict.fromkeys(PROMISES, 0))
    failed = 0
    with Emulator.start() as one, Emulator.start() as other, ThreadPoolExecutor(2) as pool:
        emulators = SimpleQueue[Emulator]()
        emulators.put(one)
        emulators.put(other)

        def play(number: int) -> Round:
            emulator = emulators.get()
            played = Round(emulator, number)
            try:
                played.play()
            except Exception as exc:  # noqa: BLE001 - counted as a failed round
                played.problems.append(f"{type(exc).__name__}: {exc}")
            emulators.put(emulator)
            for problem in played.problems:
                print(f"seed {number}: {problem}", flush=True)  # noqa: T201
            return played

        for played in pool.map(play, range(seed, seed + rounds)):
            counts.update(played.counts, rounds=1, records=len(played.streams))
            failed += bool(played.problems)
    for names in (("rounds", "runs", "records", "signals"), PROMISES):
        print(", ".join(f"{counts[name]} {name}" for name in names))  # noqa: T201
    return 1 if failed else 0


if __name__ == "__main__":
    given = dict(enumerate(map(int, sys.argv[1:])))
    sys.exit(main(given.get(0, 200), given.get(1, 1)))
