"""Work that is done while the service processes a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Body:
    """The body of a request, and what to do once it has been sent.

    ``requests`` sends a body that it can iterate part by part, and asks for the next part before
    it waits for the response: by then everything has been sent. Doing the work at this moment needs
    no second thread, and handing a page from thread to thread costs more than writing it.

    Args:
        body: The body.
        while_waiting: The work. It must not raise: to the connection its error would be its own.
    """

    def __init__(self, body: bytes, while_waiting: Callable[[], None]) -> None:
        self._body = body
        self.while_waiting = while_waiting

    def __len__(self) -> int:
        """The number of bytes."""
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body, and do the work once it has been sent."""
        yield self._body
        self.while_waiting()
