"""Finds the position after the latest message, for ``start_from: latest``."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..event_streams.consume import Cursor
from .positions import cursor_after, rfc3339
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
# The factor by which the search goes further back in each step, and the limit of the last step.
GROWTH = 8
LONGEST_LOOK_BACK = timedelta(days=10_000)


def find_latest(fetch: Fetch, clock: RunClock) -> Bookmark:
    """Find the bookmark of the latest message.

    If the topic has no recent message, the bookmark is a timestamp instead of a message id.

    Args:
        fetch: Requests the page after a cursor.
        clock: The clock of the run.
    """
    now = datetime.now(timezone.utc)
    since = now - LOOK_BACK
    page = _fetch_since(fetch, since)
    if page.date is None or abs(page.date - now) > DAY_OFF:
        since, page = _search(fetch, max(now, page.date or now))
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


def _search(fetch: Fetch, now: datetime) -> tuple[datetime, Page]:
    """Search for the latest page without a reliable clock: go back in growing steps, then bisect.

    A timestamp in the future means now (contract: "Public API"): as a bookmark, it would skip the
    messages until then, so only a time with messages after it is safe.

    Returns:
        A time and the page since then; the page is empty only if the topic is empty.
    """
    newer, look_back = now, LOOK_BACK
    page = _fetch_since(fetch, now - look_back)
    while not page.messages and look_back < LONGEST_LOOK_BACK:
        newer, look_back = now - look_back, min(look_back * GROWTH, LONGEST_LOOK_BACK)
        page = _fetch_since(fetch, now - look_back)
    since, full = now - look_back, len(page.messages)
    # A page with fewer messages is near enough to the end.
    while len(page.messages) >= full and newer - since > LOOK_BACK:
        middle = since + (newer - since) / 2
        if (found := _fetch_since(fetch, middle)).messages:
            since, page = middle, found
        else:
            newer = middle
    return since, page


def _fetch_since(fetch: Fetch, time: datetime) -> Page:
    return fetch(Cursor(since_time=rfc3339(time)))
