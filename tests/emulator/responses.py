"""A response of the service: a body with a status, or an error in the format of the API."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus

import msgspec


@dataclass(slots=True)
class ApiResponse:
    """A response before it is sent; with `cut`, half of the body is withheld."""

    body: bytes
    status: int = HTTPStatus.OK
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False


class Problem(Exception):
    """Raised where a request cannot be served: the status and message that it gets."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self) -> ApiResponse:
        """The problem as a response."""
        answer = problem(self.status, self.message)
        answer.headers.update(self.headers)
        return answer


def problem(status: int, message: str) -> ApiResponse:
    """An error in the format of the API."""
    return ApiResponse(msgspec.json.encode({"message": message, "code": status}), int(status))
