"""The first code that a connector runs, before its imports, which take a fraction of a second."""

from __future__ import annotations

import signal
import sys


def prepare(name: str) -> None:
    """Let SIGINT end the process without a traceback, and require that stdout is open."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # If stdout is closed, the next file or connection would get its descriptor.
    if sys.stdout is None:
        print(f"{name}: stdout is closed; there is nowhere to write to", file=sys.stderr)  # noqa: T201 - not yet a log
        sys.exit(1)
