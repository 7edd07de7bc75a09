"""Format the measurements for the terminal and for RESULTS.md."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from tests.tools.benchmarks.measure import Run

RESULTS = Path(__file__).with_name("RESULTS.md")
MIB = 1024 * 1024
LIBRARIES = ("singer-sdk", "requests", "urllib3", "msgspec", "orjson", "dlt", "uvicorn")
INTRODUCTION = """\
# Benchmarks

Written by `make bench` from the modules next to this file. The contenders of a table run in turn,
each run in a new process, against the emulator on the same machine; the numbers are medians. "Wall
s" is the time from the start of a process to its end. Each run is checked: every message arrives
once, in order.
"""


@dataclass(frozen=True)
class Goal:
    """A bound, and the measured value.

    Attributes:
        text: What is measured.
        reached: The measured value.
        wanted: The minimum, or with `at_most` the maximum.
        unit: Appended to both numbers.
        at_most: Whether lower is better.
    """

    text: str
    reached: float
    wanted: float
    unit: str = ""
    at_most: bool = False

    @property
    def met(self) -> bool:
        """Whether the measured value is within the bound."""
        return self.reached <= self.wanted if self.at_most else self.reached >= self.wanted

    def __str__(self) -> str:
        """The goal as one line."""
        bound = "at most" if self.at_most else "at least"
        verdict = "met" if self.met else "NOT met"
        reached, wanted = (
            f"{_number(self.reached)}{self.unit}",
            f"{_number(self.wanted)}{self.unit}",
        )
        return f"{self.text}: {reached} (goal: {bound} {wanted}, {verdict})"


@dataclass(frozen=True)
class Section:
    """A table with a description and goals."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    goals: Sequence[Goal] = field(default=())

    def __str__(self) -> str:
        """The section in Markdown, with aligned columns so that it reads well as plain text."""
        widths = [max(map(len, cells)) for cells in zip(self.columns, *self.rows, strict=True)]
        lines = [_line(self.columns, widths), _rule(widths)]
        lines += [_line(row, widths) for row in self.rows]
        goals = "".join(f"\n- {goal}" for goal in self.goals)
        table = "\n".join(lines)
        return f"## {self.title}\n\n{self.about}\n\n{table}\n" + (f"{goals}\n" if goals else "")


def costs(messages: int, runs: Mapping[str, Run]) -> tuple[list[str], list[list[str]]]:
    """Columns and rows with the speed, time, memory and requests of each contender."""
    columns = ["", "records per second", "wall s", "CPU s", "peak MB", "requests"]
    rows = [
        [
            name,
            f"{messages / run.wall_secs:,.0f}",
            f"{run.wall_secs:.2f}",
            f"{run.cpu_secs:.2f}",
            f"{run.peak_bytes / MIB:.0f}",
            f"{run.requests:,.0f}",
        ]
        for name, run in runs.items()
    ]
    return columns, rows


def write(sections: Iterable[Section]) -> None:
    """Write RESULTS.md."""
    RESULTS.write_text("\n".join([INTRODUCTION, machine(), *map(str, sections)]), encoding="utf-8")


def machine(names: Iterable[str] = LIBRARIES) -> str:
    """The machine, the versions of these libraries, and the date."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3
    libraries = ", ".join(f"{name} {version(name)}" for name in names)
    return (
        f"- Machine: {_processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()} {platform.release()}\n"
        f"- {platform.python_implementation()} {platform.python_version()}; {libraries}\n"
        f"- Measured on {datetime.now(timezone.utc):%Y-%m-%d at %H:%M} UTC; "
        f"load average {os.getloadavg()[0]:.1f}\n"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [
        cell.ljust(width) if number == 0 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return f"| {' | '.join(padded)} |"


def _rule(widths: Sequence[int]) -> str:
    bars = [
        "-" * width if number == 0 else "-" * (width - 1) + ":"
        for number, width in enumerate(widths)
    ]
    return f"| {' | '.join(bars)} |"
