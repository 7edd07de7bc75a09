"""Tail topics through outages, login pages, a slow gateway and a deleted topic.

`python -m tests.search.tail_soak [MINUTES] [SEED]`
"""

import itertools
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from workato_streams_emulator import Emulator

from tests.support.executables import write_json
from tests.support.running import eventually
from tests.support.tap import RunningTap
from tests.support.tap_output import assert_states_are_true, ids

LIVING, DELETED = range(1, 6), 6
LOGIN_PAGE = {"kind": "status", "status": 200, "body": "<html>Sign in</html>"}
# What the service does, and for how many seconds; the last one is longer than max_retry_secs.
INCIDENTS: list[tuple[str, float, list[dict[str, Any]]]] = [
    ("a login page", 12, [LOGIN_PAGE]),
    ("an outage", 40, [{"kind": "status", "status": 503}]),
    ("a deleted topic", 60, [{"kind": "status", "status": 404, "topic_id": DELETED}]),
    ("refused connections", 20, [{"kind": "reset"}]),
    ("a slow gateway", 60, [{"kind": "latency", "secs": 6.0}]),
    ("a gateway that times out", 50, [{"kind": "status", "status": 504, "topic_id": 2}]),
    ("a long login page", 100, [LOGIN_PAGE]),
    ("cut responses", 10, [{"kind": "cut"}]),
    ("a topic that is down", 330, [{"kind": "status", "status": 503, "topic_id": 1}]),
]
QUIET_SECS = 70.0


class Soak:
    """A tap in tail mode, and a publisher, until the time is over."""

    def __init__(self, emulator: Emulator, config: Path, minutes: float, seed: int) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - a search that can be repeated
        self.emulator = emulator
        self.ends_at = time.monotonic() + minutes * 60
        self.lasting: list[dict[str, Any]] = []
        self.tap = RunningTap("--config", config)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.ends_at

    def publish(self, secs: float) -> None:
        """Publish messages to any topic from time to time."""
        until = min(self.ends_at, time.monotonic() + secs)
        while time.monotonic() < until:
            assert self.tap.is_running, self.tap.stderr
            topic = self.chance.choice([*LIVING, DELETED])
            self.emulator.load(topic, [{"text": "x" * 500}] * self.chance.randint(1, 5))
            time.sleep(self.chance.uniform(0, 4))

    def have(self, faults: list[dict[str, Any]], secs: float) -> None:
        """Have an incident, then time to recover; print how many lines explain it."""
        logged = len(self.tap.stderr)
        for fault in [*self.lasting, *faults]:
            self.emulator.fault(times=-1, **fault)
        self.publish(secs)
        self.emulator.clear_faults()
        self.lasting += [fault for fault in faults if fault.get("topic_id") == DELETED]
        for fault in self.lasting:
            self.emulator.fault(times=-1, **fault)
        self.publish(QUIET_SECS)
        lines = self.tap.stderr[logged:].splitlines()
        for level in ("ERROR", "WARNING"):
            say(f"  {sum(level in line for line in lines)} lines of level {level}")

    def finish(self) -> None:
        """Check that each message was written once, and print the errors."""
        time.sleep(QUIET_SECS)
        published = {
            t: [m.message_id for m in self.emulator.messages(t)] for t in [*LIVING, DELETED]
        }
        for topic in LIVING:
            last, name = published[topic][-1], f"topic_{topic}"
            eventually(lambda: last in ids(self.tap.so_far, name), f"{last} of {name}")  # noqa: B023
        self.tap.send(signal.SIGTERM)
        ended = self.tap.end()
        assert_states_are_true(ended)
        for topic, expected in published.items():
            read = ids(ended, f"topic_{topic}")
            assert read == expected[: len(read)], f"topic {topic} is not as published"
            assert topic == DELETED or len(read) == len(expected), f"topic {topic} is not complete"
        say(f"exit code {ended.exit_code}; {len(ids(ended))} messages, each once; the errors:")
        for line in ended.error_lines:
            say(line)


def say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)  # noqa: T201


def main(minutes: int, seed: int) -> None:
    """Repeat the incidents until the time is over."""
    with Emulator.start() as emulator, tempfile.TemporaryDirectory() as folder:
        for topic in [*LIVING, DELETED]:
            emulator.create_topic(f"topic {topic}", id=topic)
        settings = {"api_url": emulator.url, "api_token": emulator.token, "tail": True}
        settings["topics"] = [{"id": topic} for topic in [*LIVING, DELETED]]
        config = write_json(Path(folder) / "config.json", settings)
        soak = Soak(emulator, config, minutes, seed)
        try:
            soak.publish(QUIET_SECS)
            for name, secs, faults in itertools.cycle(INCIDENTS):
                if soak.is_over:
                    break
                say(name)
                soak.have(faults, secs)
            soak.finish()
        finally:
            soak.tap.kill()


if __name__ == "__main__":
    given = dict(enumerate(map(int, sys.argv[1:])))
    main(given.get(0, 60), given.get(1, 1))
