"""Finds the position after the latest message, for ``start_from: latest``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import Cursor, rfc3339
from ..event_streams.newest_page import find_newest_page
from .positions import cursor_after
from .run_clock import DAY_OFF
from .topic import Bookmark

if TYPE_CHECKING:
    from collections.abc import Callable

    from .run_clock import RunClock
    from .topic import Page

    Fetch = Callable[[Cursor], Page]

# How far back the search for the latest message starts: more than the service's clocks can differ.
LOOK_BACK = timedelta(seconds=5)
# If the local clock is behind the service's by more than this, the service's clock is used instead.
SMALL_SKEW = timedelta(minutes=1)


def find_latest(fetch: Fetch, clock: RunClock, batch_size: int) -> Bookmark:
    """Find the bookmark of the latest message.

    If the topic has no recent message, the bookmark is a timestamp instead of a message id.

    Args:
        fetch: Requests the page after a cursor.
        clock: The clock of the run.
        batch_size: The maximum number of messages of a page.
    """
    now = datetime.now(timezone.utc)
    since = now - LOOK_BACK
    page = _fetch_since(fetch, since)
    if page.date is None or abs(page.date - now) > DAY_OFF:
        # Without a reliable clock, only a time with messages after it is safe: a timestamp in the
        # future means now (contract: "Public API"), and would skip the messages until then.
        latest_now = max(now, page.date or now)
        since = latest_now - LOOK_BACK
        page = _fetch_since(fetch, since)
        since, page = find_newest_page(
            lambda time: _fetch_since(fetch, time), latest_now, since, page, batch_size
        )
    elif not timedelta() <= page.date - since <= SMALL_SKEW:
        since = page.date - LOOK_BACK
        page = _fetch_since(fetch, since)
    latest = Bookmark(None, rfc3339(since))
    while last := page.bookmark():
        latest = last
        if clock.started_before(latest.time):
            break
        page = fetch(cursor_after(latest))
    return latest


def _fetch_since(fetch: Fetch, time: datetime) -> Page:
    return fetch(Cursor(since_time=rfc3339(time)))
