"""Message times, as `Emulator.load` takes them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


def ago(secs: float) -> str:
    """The time so many seconds before now, by this machine's clock."""
    moment = datetime.now(timezone.utc) - timedelta(seconds=secs)
    return moment.isoformat(timespec="milliseconds")


def all_ago(secs: float, count: int) -> list[str]:
    """A time for each of so many messages, all the same."""
    return [ago(secs)] * count
