"""Finds a page close to the end of a topic, because the API cannot read backwards."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sized
    from datetime import datetime


class PageLike(Protocol):
    """A page of messages."""

    @property
    def messages(self) -> Sized: ...  # noqa: D102


P = TypeVar("P", bound=PageLike)

# The factor by which the search goes further back in each step, and the limit of the last step.
GROWTH = 16
LONGEST_LOOK_BACK = timedelta(days=10_000)
# Reading the messages of this time takes about as many requests as searching in it.
SHORTEST_INTERVAL = timedelta(seconds=1)


def find_newest_page(
    fetch_since: Callable[[datetime], P],
    now: datetime,
    since: datetime,
    page: P,
    page_size: int,
) -> tuple[datetime, P]:
    """Search for a page close to the end: go back in growing steps, then bisect the last step.

    Args:
        fetch_since: Requests the first page of the messages since a time.
        now: The time by the service's clock, or a later one.
        since: The time at which the search starts, before ``now``.
        page: The page since that time.
        page_size: The maximum number of messages of a page. A page with fewer ends the search.

    Returns:
        A time and the page since then; the page is empty only if the topic is empty.
    """
    newer = now
    while not page.messages and now - since < LONGEST_LOOK_BACK:
        newer, since = since, now - min((now - since) * GROWTH, LONGEST_LOOK_BACK)
        page = fetch_since(since)
    while len(page.messages) >= page_size and newer - since > SHORTEST_INTERVAL:
        middle = since + (newer - since) / 2
        if (found := fetch_since(middle)).messages:
            since, page = middle, found
        else:
            newer = middle
    return since, page
