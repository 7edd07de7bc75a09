"""Formats numbers and durations in log lines."""

from __future__ import annotations

from collections.abc import Sequence

MAX_NAME = 100
MAX_NAMES = 10


def shown(name: str) -> str:
    """Shorten a name in the data, such as that of a field, to fit in a log line."""
    text = "".join(char if char.isprintable() else "?" for char in name[:MAX_NAME])
    return text if len(name) <= MAX_NAME else f"{text}..."


def listed(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many others there are."""
    text = ", ".join(names[:MAX_NAMES])
    return text if len(names) <= MAX_NAMES else f"{text} and {len(names) - MAX_NAMES} more"


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: 1 message, 2 messages."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(secs: float) -> str:
    """Return a duration in its two largest units: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    minutes = round(secs / 60)
    if secs < 90:
        return f"{secs:.0f} s"
    if minutes < 60:
        return f"{minutes} min"
    hours = minutes // 60
    if hours < 24:
        return f"{hours} h {minutes % 60} min"
    return f"{hours // 24} d {hours % 24} h"
