"""Long polls that wait for a message in their topic."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import Receive


class Arrivals:
    """Wakes the long polls of a topic as soon as a message is published to it."""

    def __init__(self) -> None:
        self._waiting: defaultdict[int, set[asyncio.Future[None]]] = defaultdict(set)

    def announce(self, topic_id: int) -> None:
        """Wake the long polls of a topic that has a new message."""
        for waiter in self._waiting.pop(topic_id, ()):
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self, topic_id: int, receive: Receive, timeout_secs: float) -> bool:
        """Wait for a message; return whether the client is still connected."""
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[topic_id].add(arrival)
        leaving = asyncio.ensure_future(disconnected(receive))
        try:
            await asyncio.wait(
                {arrival, leaving}, timeout=timeout_secs, return_when=asyncio.FIRST_COMPLETED
            )
            return not leaving.done()
        finally:
            self._waiting[topic_id].discard(arrival)
            leaving.cancel()


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
