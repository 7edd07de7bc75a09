"""Work that is done while the service processes a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Body:
    """The body of a request, and a function to call once it has been sent.

    ``requests`` sends an iterable body part by part, and requests the next part before it waits
    for the response, when everything has been sent. Calling the function at this moment needs no
    second thread; passing a page to another thread would take longer than writing it.

    Args:
        body: The body.
        while_waiting: The function. It must not raise, because its error would be taken for a
            network error.
    """

    def __init__(self, body: bytes, while_waiting: Callable[[], None]) -> None:
        self._body = body
        self.while_waiting = while_waiting

    def __len__(self) -> int:
        """The number of bytes."""
        return len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the body, and call the function once it has been sent."""
        yield self._body
        self.while_waiting()
