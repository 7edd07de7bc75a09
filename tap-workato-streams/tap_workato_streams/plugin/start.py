"""The first code that a connector runs, before its imports, which take a fraction of a second."""

from __future__ import annotations

import gc
import signal
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def starting(name: str) -> Iterator[None]:
    """Prepare the process; the imports belong in the block.

    SIGINT ends it without a traceback, and stdout must be open. Imported objects are never freed,
    so the garbage collector skips them: searching them would take a quarter of the start-up time.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # If stdout is closed, the next file or connection would get its descriptor.
    if sys.stdout is None:
        print(f"{name}: stdout is closed; there is nowhere to write to", file=sys.stderr)  # noqa: T201 - not yet a log
        sys.exit(1)
    gc.disable()
    yield
    gc.freeze()
    gc.enable()
