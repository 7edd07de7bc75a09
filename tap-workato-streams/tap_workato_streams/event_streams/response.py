"""A response of the service, and the times in its headers."""

from __future__ import annotations

import functools
import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Response(NamedTuple):
    """A response that was read in full.

    Attributes:
        status: The HTTP status.
        headers: The headers; their names are case-insensitive.
        content: The body, decompressed.
        is_last: Whether the service closes the connection after it.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = b""
    is_last: bool = False

    @property
    def date(self) -> datetime | None:
        """The time by the service's clock, if the response contains it."""
        return _date(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds that the service asked to wait; it sends seconds, or a date by its clock."""
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            return float(value)
        until = _date(value)
        if until is None:
            return None
        return max(0.0, (until - (self.date or datetime.now(timezone.utc))).total_seconds())


# All responses within a second have the same Date header, so parsed dates are cached.
@functools.lru_cache(maxsize=2)
def _date(value: str) -> datetime | None:
    """Parse the date of an HTTP header; None for any other text."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
