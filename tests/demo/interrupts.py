"""Signals that end a process: each lets it clean up, and none cuts the cleaning short."""

from __future__ import annotations

import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_orderly() -> None:
    """Let each of these signals raise SystemExit, so that context managers run."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in ENDING:
        signal.signal(number, end)


@contextmanager
def held_back() -> Iterator[None]:
    """Let a signal that comes during the block act at its end."""
    came: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: came.append(number)) for number in ENDING
    }
    try:
        yield
    finally:
        for ending, handler in handlers.items():
            signal.signal(ending, handler)
    for number in came[:1]:
        signal.raise_signal(number)
