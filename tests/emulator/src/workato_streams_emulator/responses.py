"""Responses of the service, and errors in the format of the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec


@dataclass(slots=True)
class ApiResponse:
    """A response; with `cut`, only half of the body is sent."""

    body: bytes
    status: int = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


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
