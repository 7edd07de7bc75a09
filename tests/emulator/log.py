"""The request log: what the service was asked, and how it responded."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    from starlette.types import Scope

Operation = Literal["consume", "publish", "batch", "topics", "other"]


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request; `status` is None if there was no response (reset, stalled, or still waiting).

    `at` and `finished_at` are seconds since the epoch by the machine's own clock; `finished_at` is
    None while the request is being worked on. Names in `headers` are lower case.
    """

    operation: Operation
    topic_id: int | None
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int | None
    at: float
    finished_at: float | None


class Entry:
    """A request as it is kept while it is worked on: cheap to write, formed when it is read."""

    __slots__ = ("_asked", "_body", "at", "finished_at", "operation", "status", "topic_id")

    def __init__(
        self, operation: Operation, topic_id: int | None, scope: Scope, body: bytes
    ) -> None:
        self.operation = operation
        self.topic_id = topic_id
        # Not the scope itself: it would keep the connection's objects alive.
        self._asked = scope["method"], scope["path"], scope["query_string"], scope["headers"]
        self._body = body
        self.status: int | None = None
        self.at = time.time()
        self.finished_at: float | None = None

    def finish(self, status: int | None) -> None:
        """Record the response before it is sent, so that its receiver finds it in the log."""
        self.status = status
        self.finished_at = time.time()

    def read(self) -> LoggedRequest:
        """The entry as the control client sees it."""
        method, path, query, headers = self._asked
        return LoggedRequest(
            operation=self.operation,
            topic_id=self.topic_id,
            method=method,
            path=path + (f"?{query.decode('latin-1')}" if query else ""),
            headers={name.decode("latin-1"): value.decode("latin-1") for name, value in headers},
            body=self._body,
            status=self.status,
            at=self.at,
            finished_at=self.finished_at,
        )
