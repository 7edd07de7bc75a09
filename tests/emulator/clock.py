"""The service's clock, which a test may shift, and the two ways in which the API writes a time."""

from __future__ import annotations

import re
import time
from datetime import datetime, timezone
from email.utils import formatdate

RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d+))?([Zz]|[+-]\d{2}:\d{2})"
)


class Clock:
    """Now, as the service sees it: the machine's clock plus `offset_secs`."""

    def __init__(self) -> None:
        self.offset_secs = 0.0

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self.offset_secs

    def stamp(self, ago_secs: float = 0.0) -> str:
        """The message time of now, or of `ago_secs` before it."""
        return stamp(self.now() - ago_secs)

    def http_date(self, in_secs: float = 0.0) -> str:
        """Now, or `in_secs` from now, as the `Date` and `Retry-After` headers write it."""
        return formatdate(self.now() + in_secs, usegmt=True)


def stamp(epoch_secs: float) -> str:
    """A message time, `2023-04-14T15:07:14.437+00:00`; texts of this form sort by time."""
    # No message is older than the epoch, however long the retention that is counted back.
    return _text(datetime.fromtimestamp(max(0.0, epoch_secs), timezone.utc))


def parse(text: str) -> str:
    """An RFC 3339 time as a message time, cut to milliseconds.

    Raises:
        ValueError: The text is no RFC 3339 time.
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
