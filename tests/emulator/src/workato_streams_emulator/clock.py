"""The service's clock, which a test can shift, and the two formats of times in the API."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from email.utils import formatdate

RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})"
)


class Clock:
    """The service's clock: the machine's clock plus `offset_secs`."""

    def __init__(self) -> None:
        self.offset_secs = 0.0

    def now(self) -> float:
        """The current Unix time in seconds."""
        return time.time() + self.offset_secs

    def stamp(self, ago_secs: float = 0.0) -> str:
        """Format the time `ago_secs` ago as a message time."""
        return stamp(self.now() - ago_secs)

    def http_date(self, in_secs: float = 0.0) -> str:
        """Format the time in `in_secs` as in the headers `Date` and `Retry-After`."""
        return formatdate(self.now() + in_secs, usegmt=True)


def stamp(epoch_secs: float) -> str:
    """Format a Unix time as `2023-04-14T15:07:14.437+00:00`, which sorts by time."""
    # A long retention would give a time before 1970, but no message is that old.
    return _text(datetime.fromtimestamp(max(0.0, epoch_secs), timezone.utc))


def parse(text: str) -> str:
    """Convert an RFC 3339 time to a message time, truncated to milliseconds.

    Raises:
        ValueError: The text is not an RFC 3339 time.
    """
    match = RFC_3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a time in RFC 3339 format")
    date, clock, fraction, zone = match.groups()
    micros = (fraction or "")[:6].ljust(6, "0")
    zone = "+00:00" if zone in "Zz" else zone
    try:
        moment = datetime.fromisoformat(f"{date}T{clock}.{micros}{zone}")
        return _text(moment.astimezone(timezone.utc))
    except (ValueError, OverflowError) as exc:
        raise ValueError(f"{text!r} is not a time in RFC 3339 format") from exc


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
