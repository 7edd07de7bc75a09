"""Kill the executable at random: `python -m tests.exactly_once.chaos [MINUTES] [SEED]`.

Rounds have random backlogs, lost responses, partial results, 5xx, SIGKILL and SIGTERM; each run
resumes from the last state that was emitted, or from any earlier one that has a position for each
topic that was published to. A case that the documentation names as a limit does not occur: a
request that the service applies after its connection was closed *and* after the topic was read.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workato_streams_emulator import Emulator

from tests.executables import write_json
from tests.target.running import RunningTarget

if TYPE_CHECKING:
    from collections.abc import Iterator

OURS = "target-workato-streams"
# Each kind of fault, and its options.
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("reset", {}),
    ("reset_after", {}),
    ("cut", {}),
    ("cut_json", {}),
    ("html", {}),
    ("stall", {"secs": 3, "stored": True}),
    ("stall", {"secs": 3, "stored": False}),
    ("status", {"status": 500, "stored": True}),
    ("status", {"status": 502, "stored": False}),
    ("status", {"status": 503, "stored": True, "headers": {"Retry-After": "0"}}),
    ("status", {"status": 504, "stored": True}),
    ("status", {"status": 408, "stored": True}),
    ("status", {"status": 429, "headers": {"Retry-After": "0"}}),
    ("missing_entry", {"stored": True}),
    ("missing_entry", {"stored": False}),
    ("entry_error", {}),
    ("latency", {"secs": 0.1}),
]
# Longer than the latency above: what a killed process has sent is applied by then.
QUIET_SECS = 0.3
MAX_RUNS = 40


@dataclass
class Round:
    """One source and its topics, from the first run to the one that completes it.

    Args:
        emulator: The service.
        rng: The random numbers.
        folder: The folder of the config file.
    """

    emulator: Emulator
    rng: random.Random
    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    states: list[dict[str, Any]] = field(default_factory=lambda: [{"bookmarks": {}}])

    def __post_init__(self) -> None:
        """Create the topics and the source's log."""
        rng = self.rng
        self.keyed = {name: rng.random() < 0.7 for name in "abcd"[: rng.randint(1, 4)]}
        topics = [self.emulator.create_topic(f"t{n}") for n in range(rng.randint(1, 3))]
        self.routes = {name: rng.choice(topics) for name in self.keyed}
        self.rows = rng.choice((3, 30, 3000))
        self.log: list[tuple[str, int, int]] = []
        self._append(rng.choice((30, 300, 2000)))
        self.every = rng.choice((1, 7, 50, 400))
        self.config = write_json(
            self.folder / "config.json",
            {
                "api_url": self.emulator.url,
                "api_token": self.emulator.token,
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
        """Play the round.

        Returns:
            Descriptions of what is lost, duplicated or out of order.
        """
        for _ in range(self.rng.randint(1, 6)):
            self._run(self._resumed(), final=False)
            self._append(self.rng.choice((0, 0, 10, 200)))
        for _ in range(MAX_RUNS):
            if self._run(self.states[-1], final=True):
                return list(self._wrong())
        return [f"not complete after {MAX_RUNS} runs"]

    def _append(self, count: int) -> None:
        for _ in range(count):
            stream = self.rng.choice(list(self.keyed))
            # Versions come back: a row may go from 1 to 2 and to 1 again.
            self.log.append((stream, self.rng.randrange(self.rows), self.rng.randint(1, 3)))

    def _resumed(self) -> dict[str, Any]:
        """Return the last state, or any earlier one that a run may resume from."""
        if self.rng.random() < 0.25:
            earlier = self.rng.choice(self.states)
            written = {
                topic
                for topic in self.routes.values()
                if any("key" in payload for payload in self.emulator.payloads(topic))
            }
            if written <= {int(topic) for topic in earlier["bookmarks"].get(OURS, {})}:
                self.counts["older states"] += 1
                return earlier
        return self.states[-1]

    def _lines(self, state: dict[str, Any]) -> Iterator[bytes]:
        yield _line(type="STATE", value=state)
        for stream, keyed in self.keyed.items():
            schema = {"type": "object", "properties": {"id": {"type": "integer"}}}
            keys = ["id"] if keyed else []
            yield _line(type="SCHEMA", stream=stream, schema=schema, key_properties=keys)
        start = state["bookmarks"].get("source", {}).get("offset", 0)
        for number, (stream, row, version) in enumerate(self.log[start:], start + 1):
            yield _line(type="RECORD", stream=stream, record={"s": stream, "id": row, "v": version})
            if number % self.every == 0 or number == len(self.log):
                bookmarks = {**state["bookmarks"], "source": {"offset": number}}
                yield _line(type="STATE", value={"bookmarks": bookmarks})

    def _run(self, state: dict[str, Any], *, final: bool) -> bool:
        """Run the target.

        Returns:
            Whether the run was the final one, and has succeeded.
        """
        self.counts["runs"] += 1
        self._order_faults(final=final)
        target = RunningTarget("--config", self.config)
        feeder = threading.Thread(target=self._feed, args=(target, state), daemon=True)
        feeder.start()
        if not final:
            self._interrupt(target)
        outcome = target.end(within=120)
        feeder.join(10)
        time.sleep(QUIET_SECS)
        self.emulator.clear_faults()
        complete = outcome.stdout[: outcome.stdout.rfind(b"\n") + 1]
        self.states += [json.loads(line) for line in complete.splitlines()]
        retried = [line for line in outcome.stderr.splitlines() if "; retrying in " in line]
        self.counts["lost responses"] += sum("429" not in line for line in retried)
        if "Traceback" in outcome.stderr:
            raise AssertionError(outcome.stderr)
        return outcome.exit_code == 0 and final

    def _feed(self, target: RunningTarget, state: dict[str, Any]) -> None:
        slow = self.rng.random() < 0.3
        chunk: list[bytes] = []
        try:
            for line in self._lines(state):
                chunk.append(line)
                if len(chunk) >= (20 if slow else 500):
                    target.feed_bytes(b"".join(chunk))
                    chunk = []
                    time.sleep(0.02 if slow else 0)
            target.feed_bytes(b"".join(chunk))
            target.close_input()
        except (BrokenPipeError, ValueError):
            pass  # The target was killed.

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

    def _wrong(self) -> Iterator[str]:
        self.counts["records"] += len(self.log)
        expected: dict[tuple[str, int], list[int]] = {}
        for stream, row, version in self.log:
            expected.setdefault((stream, row), []).append(version)
        found: dict[tuple[str, int], list[int]] = {}
        for topic in set(self.routes.values()):
            for payload in self.emulator.payloads(topic):
                if "key" in payload:
                    found.setdefault((payload["s"], payload["id"]), []).append(payload["v"])
                    self.counts["messages"] += 1
        for key in expected.keys() | found.keys():
            want, have = expected.get(key, []), found.get(key, [])
            # Records without a key have no order of their own after a partial failure.
            if want != have and (self.keyed[key[0]] or sorted(want) != sorted(have)):
                yield f"{key}: {want} in the log, {have} in the topic"


def _line(**message: Any) -> bytes:  # noqa: ANN401 - any JSON
    return json.dumps(message).encode() + b"\n"


def main(minutes: float, seed: int) -> int:
    """Play rounds until the time is over or one has an error."""
    ends_at = time.monotonic() + 60 * minutes
    counts: Counter[str] = Counter()
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < ends_at:
            emulator.reset()
            one = Round(emulator, random.Random(seed), Path(folder))  # noqa: S311 - no secret
            wrong = one.play()
            counts.update(one.counts, rounds=1)
            print(f"seed {seed}: {dict(one.counts)}", flush=True)  # noqa: T201
            if wrong:
                print("\n".join(wrong[:20]))  # noqa: T201
                return 1
            seed += 1
    print(", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())))  # noqa: T201
    print("0 lost, 0 duplicated, 0 out of order")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main(float((sys.argv[1:2] or ["5"])[0]), int((sys.argv[2:3] or ["0"])[0])))
