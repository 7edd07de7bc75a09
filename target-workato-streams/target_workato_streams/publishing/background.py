"""Work that takes its time in another thread, while the main thread has other things to do."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def begin(work: Callable[[], T], *, done: Callable[[], None]) -> Future[T]:
    """Begin a piece of work.

    Args:
        work: What to do.
        done: Called when it has come to its end, in the thread of the work.

    Returns:
        What the work returns or raises. The end of the process does not wait for it.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except Exception as exc:  # noqa: BLE001 - whoever asks for the result gets it
            future.set_exception(exc)
        done()

    threading.Thread(target=run, daemon=True).start()
    return future
