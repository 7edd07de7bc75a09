"""A request as it is logged, and its response."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from starlette.types import Receive, Scope

Operation = Literal["consume", "publish", "batch", "topics", "other"]


class LoggedRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One request; `status` is None if there was no response (reset, stalled, or in progress).

    `at` and `finished_at` are Unix times of the machine's clock; `finished_at` is None while the
    request is in progress. Names in `headers` are lower case.
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
    """A log entry that is cheap to write; it is formatted when it is read."""

    __slots__ = ("_asked", "_body", "at", "finished_at", "operation", "status", "topic_id")

    def __init__(
        self, operation: Operation, topic_id: int | None, scope: Scope, body: bytes
    ) -> None:
        self.operation = operation
        self.topic_id = topic_id
        # A reference to the scope would keep the connection's objects alive.
        self._asked = scope["method"], scope["path"], scope["query_string"], scope["headers"]
        self._body = body
        self.status: int | None = None
        self.at = time.time()
        self.finished_at: float | None = None

    def finish(self, status: int | None) -> None:
        """Record the response before it is sent, so that the client finds it in the log."""
        self.status = status
        self.finished_at = time.time()

    def read(self) -> LoggedRequest:
        """Return the entry for the control client."""
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


@dataclass(slots=True)
class ApiResponse:
    """A response; with `cut`, only half of the body is sent; `dated` is false without a `Date`."""

    body: bytes
    status: int = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    dated: bool = True


class Problem(Exception):
    """Raised if a request fails, with the status and message of the response."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self) -> ApiResponse:
        """Return the error response."""
        response = problem(self.status, self.message)
        response.headers.update(self.headers)
        return response


def problem(status: int, message: str) -> ApiResponse:
    """Build an error response in the format of the API."""
    return ApiResponse(msgspec.json.encode({"message": message, "code": status}), int(status))


def to_json(content: Any, status: int = HTTPStatus.OK) -> ApiResponse:  # noqa: ANN401 - any JSON
    """Build a JSON response."""
    return ApiResponse(msgspec.json.encode(content), status)


async def disconnected(receive: Receive) -> None:
    """Return when the client has disconnected; the request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass
