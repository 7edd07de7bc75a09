"""Measure contenders: the time, memory and requests of each run, which is a new process."""

from __future__ import annotations

import json
import math
import operator
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from workato_streams_emulator import Emulator

from tests.support.executables import environment

ROOT = Path(__file__).parents[3]
LAUNCHER = Path(__file__).with_name("launcher.py")
STDERR_CHARS = 2_000


@dataclass(frozen=True)
class Run:
    """The measurements of one run.

    Attributes:
        wall_secs: From the start of the process to its end.
        cpu_secs: User and system time.
        peak_bytes: The peak resident set size.
        requests: The number of requests that the emulator received.
        first_request_secs: From the start of the process to its first request.
        serving_secs: From the first request to the last response.
        response_secs: The emulator's mean response time.
    """

    wall_secs: float
    cpu_secs: float
    peak_bytes: int
    requests: int
    first_request_secs: float
    serving_secs: float
    response_secs: float

    @classmethod
    def median(cls, runs: Sequence[Run]) -> Run:
        """The median of each measurement."""
        fields = cls.__dataclass_fields__
        return cls(
            **{name: statistics.median(getattr(run, name) for run in runs) for name in fields}
        )


def measure_in_turn(contenders: Mapping[str, Callable[[], Run]], runs: int) -> dict[str, Run]:
    """Run the contenders in turn, `runs` times, and return the medians of each.

    In turn, so that other load on the machine affects all of them alike.
    """
    results: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(1, runs + 1):
        for name, contend in contenders.items():
            results[name].append(run := contend())
            print(f"  {name}, run {number} of {runs}: {run.wall_secs:.2f} s", flush=True)
    return {name: Run.median(each) for name, each in results.items()}


def measure(
    emulator: Emulator,
    command: Sequence[str],
    *,
    stdin: Path | IO[bytes] | None = None,
    stdout: Path | None = None,
) -> Run:
    """Run a command until it exits.

    Args:
        emulator: The emulator that the command uses; its request log is cleared before the run.
        command: The command line.
        stdin: A file, or the end of a pipe.
        stdout: The file to write to.

    Raises:
        RuntimeError: The command failed; the message contains the end of its stderr.
    """
    emulator.clear_requests()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        errors, result = folder / "stderr", folder / "result.json"
        code = subprocess.run(
            [sys.executable, "-I", str(LAUNCHER), str(result), *command],
            cwd=ROOT,
            env=_environment(),
            stdin=stack.enter_context(stdin.open("rb")) if isinstance(stdin, Path) else stdin,
            stdout=stack.enter_context(Path(stdout or os.devnull).open("wb")),
            stderr=stack.enter_context(errors.open("wb")),
            check=False,
        ).returncode
        if code:
            tail = errors.read_text(encoding="utf-8", errors="replace")[-STDERR_CHARS:]
            raise RuntimeError(f"{' '.join(command)} failed with exit code {code}:\n{tail}")
        cost = json.loads(result.read_text(encoding="utf-8"))
    log = emulator.requests()
    began, ends = [each.at for each in log], [each.finished_at or each.at for each in log]
    return Run(
        wall_secs=cost["wall_secs"],
        cpu_secs=cost["cpu_secs"],
        peak_bytes=cost["peak_bytes"],
        requests=len(log),
        # A run in which no row has changed has no requests.
        first_request_secs=min(began, default=math.nan) - cost["began_at"],
        serving_secs=max(ends, default=math.nan) - min(began, default=math.nan),
        response_secs=statistics.fmean(map(operator.sub, ends, began)) if log else math.nan,
    )


def module(name: str, *args: str | Path) -> list[str]:
    """The command line of one of the contenders in this package."""
    return [sys.executable, "-m", f"tests.tools.benchmarks.contenders.{name}", *map(str, args)]


def _environment() -> dict[str, str]:
    """The environment of this process, without variables that slow Python down."""
    kept = environment(RUNTIME__DLTHUB_TELEMETRY="false")
    for switch in ("PYTHONDONTWRITEBYTECODE", "PYTHONUNBUFFERED"):
        kept.pop(switch, None)
    return kept
