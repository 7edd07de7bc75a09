"""The first instructions of a connector, before its imports, which take most of a second."""

from __future__ import annotations

import signal
import sys


def start(name: str) -> None:
    """Prepare the process: SIGINT ends it without a traceback, and stdout must be open.

    Args:
        name: The name of the connector.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Without a stdout, the next file or connection would take its place.
    if sys.stdout is None:
        print(f"{name}: stdout is closed; there is nowhere to write to", file=sys.stderr)  # noqa: T201
        sys.exit(1)
