"""The times in HTTP headers."""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .transport import Response


def http_date(value: str) -> datetime | None:
    """Parse the date of an HTTP header; None for any other text."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


def retry_after(response: Response) -> float | None:
    """Parse ``Retry-After``, which is in seconds or a date by the service's clock, to seconds."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(response.headers.get("Date", "")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())
