"""How several processes share a quota: `python -m tests.tools.benchmarks.quota` writes QUOTA.md.

Each scenario has its own emulator with 60 requests per minute and 150 ms latency. The scenarios are
measured concurrently, because they mostly wait; they are started one after another.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workato_streams_emulator import Emulator, LoggedRequest

from tests.support.executables import command, environment, write_json
from tests.support.quota_stores import redis_server
from tests.support.running import eventually
from tests.tools.benchmarks.report import Goal, Section, machine
from tests.tools.demo.warehouse import warehouse

RESULTS = Path(__file__).with_name("QUOTA.md")
QUOTA = 60
LATENCY_SECS = 0.15
SHARED_SECS = 180
UNSHARED_SECS = 300
WARM_UP_SECS = 30
SIGNAL_AFTER_SECS = 60
LEAST_SHARE = 90
TAPS = 3
UNSHARED_TAPS = 8
CLOCK_AHEAD = Path(__file__).with_name("clock_ahead")
LIBRARIES = ("psycopg", "redis", "requests")
ABOUT = """\
Each tap reads its own topic, one message per request. "Rate limited" counts the requests that got a
429. "Requests each" is the range of accepted requests per process, and "least share" compares the
lowest of them with an equal share. "One clock ahead": the first process's clock is 2 s fast. "One
killed", "one suspended": after a minute, the first process gets SIGKILL or SIGSTOP; the shares are
those of the others."""


@dataclass(frozen=True)
class Scenario:
    """Processes that share one quota.

    Attributes:
        name: The name of the row in the table.
        store: The URL of the store, or None for processes without a store.
        taps: The number of taps; each reads its own topic.
        ahead: Whether the clock of the first process is fast.
        sent: The signal that the first process gets after ``SIGNAL_AFTER_SECS``, if any.
        pipe: Whether one tap is piped into a target instead.
    """

    name: str
    store: str | None
    taps: int = TAPS
    ahead: bool = False
    sent: signal.Signals | None = None
    pipe: bool = False

    @property
    def secs(self) -> int:
        """The time in seconds that is measured."""
        return SHARED_SECS if self.store else UNSHARED_SECS


class Processes:
    """The processes of a scenario and their emulator."""

    def __init__(self, scenario: Scenario, folder: Path, stack: ExitStack) -> None:
        self.scenario = scenario
        self._folder = folder
        self._stack = stack
        self._running: list[subprocess.Popen[bytes]] = []
        self.emulator = stack.enter_context(Emulator.start())
        self.emulator.configure(quota_per_minute=QUOTA, latency_secs=LATENCY_SECS)

    def start(self) -> None:
        """Start the processes, and wait until each has sent a request."""
        if self.scenario.pipe:
            self._start_pipe()
        else:
            for number in range(self.scenario.taps):
                topic = self._topic(f"topic {number}")
                ahead = (
                    {"PYTHONPATH": str(CLOCK_AHEAD)} if self.scenario.ahead and not number else {}
                )
                self._tap(number, topic, subprocess.DEVNULL, ahead)
        expected = 2 if self.scenario.pipe else self.scenario.taps
        eventually(
            lambda: len(_by_process(self.emulator.requests())) == expected,
            f"{self.scenario.name}: a request of each process",
        )

    def measure(self) -> list[LoggedRequest]:
        """Wait for the end of the measured time, and return the requests sent in it."""
        starts: dict[int | None, float] = {}
        for request in self.emulator.requests():
            starts.setdefault(request.topic_id, request.at)
        # Without a store, the first processes have an advantage that would distort the result.
        # The measured time therefore begins when all run, between two bursts of requests.
        first = min(starts.values()) if self.scenario.store else max(starts.values()) + WARM_UP_SECS
        if self.scenario.sent:
            time.sleep(max(0.0, first + SIGNAL_AFTER_SECS - time.time()))
            self._running[0].send_signal(self.scenario.sent)
        time.sleep(max(0.0, first + self.scenario.secs - time.time()))
        requests = self.emulator.requests()
        for process in self._running[1 if self.scenario.sent else 0 :]:
            if process.poll() is not None:
                raise RuntimeError(f"{self.scenario.name}: a process has ended")
        self.stop()
        return [r for r in requests if first <= r.at < first + self.scenario.secs and r.status]

    def stop(self) -> None:
        """Stop all processes."""
        for process in self._running:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
        for process in self._running:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()

    def _topic(self, name: str) -> int:
        topic = self.emulator.create_topic(name)
        self.emulator.load(topic, [{"n": n} for n in range(1_000)])
        return topic

    def _start_pipe(self) -> None:
        destination = self.emulator.create_topic("destination")
        tap = self._tap(0, self._topic("source"), subprocess.PIPE, {})
        config = self._config(
            "target.json", topics={"*": destination}, batch_size_rows=1, max_batch_age_secs=1
        )
        self._start(["target-workato-streams", "--config", str(config)], stdin=tap.stdout)

    def _tap(
        self, number: int, topic: int, stdout: int, env: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        topics = [{"id": topic, "name": f"topic_{topic}"}]
        config = self._config(f"tap-{number}.json", topics=topics, batch_size=1)
        arguments = ["tap-workato-streams", "--config", str(config)]
        return self._start(arguments, stdout=stdout, env=env)

    def _config(self, name: str, **settings: object) -> Path:
        access = {"api_url": self.emulator.url, "api_token": self.emulator.token}
        if self.scenario.store:
            settings |= {"quota_url": self.scenario.store, "max_requests_per_minute": QUOTA}
        return write_json(self._folder / name, {**access, **settings})

    def _start(
        self,
        arguments: list[str],
        *,
        stdin: int | IO[bytes] | None = subprocess.DEVNULL,
        stdout: int = subprocess.DEVNULL,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._folder / f"{len(self._running)}.log").open("wb"))
        process = subprocess.Popen(
            command(*arguments),
            stdin=stdin,
            stdout=stdout,
            stderr=log,
            env=environment(**(env or {})),
        )
        self._running.append(process)
        return process


def run(scenarios: list[Scenario], folder: Path) -> tuple[list[list[str]], list[Goal]]:
    """Measure the scenarios concurrently; return a row for each, and the goals."""
    with ExitStack() as stack:
        everything = []
        for number, scenario in enumerate(scenarios):
            own = folder / str(number)
            own.mkdir()
            processes = Processes(scenario, own, stack)
            stack.callback(processes.stop)
            print(f"{scenario.name} ...", flush=True)
            processes.start()
            everything.append(processes)
        with ThreadPoolExecutor(len(everything)) as pool:
            measured = list(pool.map(Processes.measure, everything))
    rows, goals = [], []
    for scenario, requests in zip(scenarios, measured, strict=True):
        row, reached = evaluate(scenario, requests)
        rows.append(row)
        goals.extend(reached)
    return rows, goals


def evaluate(scenario: Scenario, requests: list[LoggedRequest]) -> tuple[list[str], list[Goal]]:
    """Compute the row of a scenario and its goals."""
    limited = [request for request in requests if request.status == 429]
    admitted = _by_process([request for request in requests if request.status != 429])
    total = sum(admitted.values())
    used = 100 * total / (QUOTA * scenario.secs / 60)
    if scenario.sent:
        del admitted[min(admitted, key=lambda topic: admitted[topic])]
    fair = sum(admitted.values()) / len(admitted)
    least = 100 * min(admitted.values()) / fair
    row = [
        scenario.name,
        f"{2 if scenario.pipe else scenario.taps}",
        f"{scenario.secs}",
        f"{len(limited)} ({100 * len(limited) / len(requests):.0f}%)",
        f"{used:.0f}%",
        f"{min(admitted.values())} to {max(admitted.values())}",
        f"{least:.0f}%",
    ]
    if not scenario.store:
        return row, [Goal(f"{scenario.name}: least share of a process", least, 60, "%")]
    return row, [
        Goal(f"{scenario.name}: rate limited", len(limited), 0, at_most=True),
        Goal(f"{scenario.name}: quota used", used, 97, "%"),
        Goal(f"{scenario.name}: least share of a process", least, LEAST_SHARE, "%"),
    ]


def main() -> None:
    """Measure all scenarios, print and write the result; exit with 1 if a goal was not met."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores = {
            "SQLite": f"file://{folder}/quota.db?name=",
            "PostgreSQL": f"{_postgres(stack, folder)}&name=",
        }
        if shutil.which("redis-server"):
            stores["Redis"] = f"{stack.enter_context(redis_server(folder)).url}?name="
        scenarios = [Scenario("without quota_url", None, taps=UNSHARED_TAPS)]
        for name, url in stores.items():
            scenarios.append(Scenario(name, f"{url}same"))
            scenarios.append(Scenario(f"{name}, one clock ahead", f"{url}ahead", ahead=True))
            scenarios.append(Scenario(f"{name}, one killed", f"{url}killed", sent=signal.SIGKILL))
            suspended = f"{name}, one suspended"
            scenarios.append(Scenario(suspended, f"{url}suspended", sent=signal.SIGSTOP))
            scenarios.append(Scenario(f"{name}, tap piped into target", f"{url}pipe", pipe=True))
        rows, goals = run(scenarios, folder)
    columns = [
        "", "processes", "seconds", "rate limited", "quota used", "requests each", "least share"
    ]  # fmt: skip
    section = Section("Sharing 60 requests per minute", ABOUT, columns, rows, goals=goals)
    print(section)
    RESULTS.write_text(
        f"# Sharing a quota\n\nWritten by `make bench-quota`.\n\n{machine(LIBRARIES)}\n{section}",
        encoding="utf-8",
    )
    sys.exit(not all(goal.met for goal in goals))


def _postgres(stack: ExitStack, folder: Path) -> str:
    own = folder / "postgres"
    own.mkdir(mode=0o700)
    database = stack.enter_context(warehouse(own / "data"))
    return f"postgresql://postgres@/postgres?host={database.socket}"


def _by_process(requests: list[LoggedRequest]) -> Counter[int | None]:
    return Counter(request.topic_id for request in requests)


if __name__ == "__main__":
    main()
