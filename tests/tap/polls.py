"""Long polls that are open at the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.running import eventually

if TYPE_CHECKING:
    from workato_streams_emulator import Emulator, LoggedRequest


def polling(emulator: Emulator) -> list[LoggedRequest]:
    """Return the long polls that the service has not responded to yet."""
    return [
        request
        for request in emulator.requests(operation="consume")
        if request.finished_at is None and b"timeout_secs" in request.body
    ]


def await_polls(emulator: Emulator, count: int = 1) -> None:
    """Wait until this many long polls are open."""
    eventually(lambda: len(polling(emulator)) == count, f"{count} open long polls")
