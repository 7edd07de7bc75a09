"""Message times for `Emulator.load`."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def ago(secs: float) -> str:
    """Return the time this many seconds ago by the local clock."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=secs)
    return moment.isoformat(timespec="milliseconds")


def all_ago(secs: float, count: int) -> list[str]:
    """Return the same time for each of this many messages."""
    return [ago(secs)] * count
