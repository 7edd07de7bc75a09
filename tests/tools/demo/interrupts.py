"""Signal handling: a process cleans up when it is stopped, and is not interrupted while it does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def exit_on_signals() -> None:
    """Let these signals raise SystemExit, so that context managers clean up."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, end)


@contextmanager
def signals_delayed() -> Iterator[None]:
    """Delay a signal that arrives during the block until the block ends."""
    pending: list[int] = []
    handlers = {
        number: signal.signal(number, lambda number, _: pending.append(number))
        for number in SIGNALS
    }
    try:
        yield
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)
    for number in pending[:1]:
        signal.raise_signal(number)
