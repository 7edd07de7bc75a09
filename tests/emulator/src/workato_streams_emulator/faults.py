"""Fault injection: which requests fail, and how."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Literal

import msgspec
from starlette.types import Receive

from workato_streams_emulator.exchange import (
    ApiResponse,
    Operation,
    disconnected,
    problem,
)

Kind = Literal[
    "latency",
    "stall",
    "status",
    "reset",
    "reset_after",
    "cut",
    "cut_json",
    "html",
    "garbage",
    "entry_error",
    "missing_entry",
    "redirect",
    "late",
    "no_date",
    "reject_position",
    "expire",
]
# These affect consume requests with `after_message_id`.
POSITION_KINDS = {"reject_position", "expire"}
HTML = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body>Sign in</body></html>"


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A fault: skips `after` matching requests, then affects the next `times` (-1: all).

    Attributes:
        kind: See `Emulator.fault`.
        operation: The affected operation; `*` for all.
        topic_id: The affected topic; None for all.
        after: The number of matching requests that are still skipped.
        times: The number of requests that are still affected.
        secs: The duration of "latency", "stall" and "late".
        status: The status of "status", "redirect" and "reject_position".
        body: The body of "status", "html" and "garbage".
        headers: Additional headers of "status".
        stored: Whether the request is processed nevertheless ("status", "stall", "missing_entry").
        indices: The entries that fail in a batch, or are missing with "missing_entry".
        reason: The error of the entries that fail.
        location: The target of "redirect".
        message_id: The position that "reject_position" rejects; None for all.
        up_to: The message up to which "expire" removes messages; None for the position.
    """

    kind: Kind
    operation: Operation | Literal["*"] = "*"
    topic_id: int | None = None
    after: int = 0
    times: int = 1
    secs: float = 0.0
    status: int | None = None
    body: bytes | None = None
    headers: dict[str, str] = {}
    stored: bool = False
    indices: list[int] = []
    reason: str = "The message could not be stored, try again"
    location: str = "/"
    message_id: str | None = None
    up_to: str | None = None

    @property
    def processes(self) -> bool:
        """Whether the request is processed, regardless of the response."""
        if self.kind in {"status", "stall"}:
            return self.stored
        return self.kind not in {"reset", "redirect"}

    def matches(self, operation: Operation, topic_id: int | None, position: str | None) -> bool:
        """Whether the fault applies to this operation, topic and position."""
        if (self.kind in POSITION_KINDS) != (position is not None):
            return False
        if self.message_id not in {None, position}:
            return False
        if self.kind in {"entry_error", "missing_entry"} and operation != "batch":
            return False
        return self.operation in {"*", operation} and self.topic_id in {None, topic_id}


class Faults:
    """The injected faults, in order: at most one for a request, and one for its position."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Inject a fault."""
        self._queue.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()

    def take(
        self, operation: Operation, topic_id: int | None, position: str | None = None
    ) -> Fault | None:
        """Return the fault for this request or, if one is given, for its position."""
        taken = None
        for fault in [each for each in self._queue if each.matches(operation, topic_id, position)]:
            if fault.after:
                fault.after -= 1
            elif taken is None:
                taken = fault
                fault.times -= 1
                if not fault.times:
                    self._queue.remove(fault)
        return taken


async def play(
    fault: Fault,
    process: Callable[[], Awaitable[ApiResponse | None]],
    transport: asyncio.Transport,
    receive: Receive,
) -> ApiResponse | None:
    """Respond to a request according to a fault; None if the connection was closed instead."""
    if fault.kind == "late":
        reset(transport)
        await disconnected(receive)
    if fault.kind in {"latency", "late"}:
        await asyncio.sleep(fault.secs)
    processed = await process() if fault.processes else None
    if fault.kind == "late" or (fault.processes and processed is None):
        return None
    if fault.kind in {"stall", "reset", "reset_after"}:
        if fault.kind == "stall":
            await _stall(fault.secs, receive)
            transport.close()
        else:
            reset(transport)
        await disconnected(receive)
        return None
    return disguised(fault, processed or ApiResponse(b""))


def disguised(fault: Fault, response: ApiResponse) -> ApiResponse:
    """Return the response that replaces the real one."""
    match fault.kind:
        case "status":
            response = problem(fault.status or HTTPStatus.INTERNAL_SERVER_ERROR, "Injected fault")
            response.body = response.body if fault.body is None else fault.body
            response.headers.update(fault.headers)
        case "redirect":
            response = ApiResponse(
                b"", fault.status or HTTPStatus.FOUND, {"location": fault.location}
            )
        case "html":
            response = ApiResponse(fault.body or HTML, headers={"content-type": "text/html"})
        case "garbage":
            response = ApiResponse(b"[]" if fault.body is None else fault.body)
        case "cut":
            response.cut = True
        case "no_date":
            response.dated = False
        case "cut_json":
            response.body = response.body[: len(response.body) // 2]
    return response


async def _stall(secs: float, receive: Receive) -> None:
    leaving = asyncio.ensure_future(disconnected(receive))
    await asyncio.wait({leaving}, timeout=secs)
    leaving.cancel()


def reset(transport: asyncio.Transport) -> None:
    """Close a connection with a TCP RST instead of a FIN."""
    # With a linger time of 0 s, closing a socket sends an RST (see socket(7)).
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()
