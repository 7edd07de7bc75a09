"""Fault injection: which request fails, and how."""

from __future__ import annotations

import asyncio
import socket
import struct
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal

import msgspec

from tests.emulator.arrivals import disconnected
from tests.emulator.log import Operation  # noqa: TC001 - msgspec reads the annotations
from tests.emulator.responses import ApiResponse, problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Receive

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
]
HTML = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body>Sign in</body></html>"


class Fault(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One fault: skips `after` matching requests, then hits `times` of them (-1: forever).

    Attributes:
        kind: See `Emulator.fault`.
        operation: The operation it hits, `*` for all.
        topic_id: The topic it hits, None for all.
        after: How many matching requests still pass before it.
        times: How many requests it still hits.
        secs: How long "latency" and "stall" take.
        status: The status of "status" and "redirect".
        body: The body of "status", "html" and "garbage".
        headers: More headers for "status".
        stored: Whether the request is processed all the same ("status", "stall", "missing_entry").
        indices: The entries that "entry_error" and "missing_entry" hit.
        reason: What "entry_error" says of them.
        location: Where "redirect" points.
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

    @property
    def processes(self) -> bool:
        """Whether the request is processed, whatever the client then gets to see."""
        if self.kind in {"status", "stall"}:
            return self.stored
        return self.kind not in {"reset", "redirect"}

    def matches(self, operation: Operation, topic_id: int | None) -> bool:
        """Whether a request is of those that this fault counts."""
        if self.kind in {"entry_error", "missing_entry"} and operation != "batch":
            return False
        return self.operation in {"*", operation} and self.topic_id in {None, topic_id}


class Faults:
    """The injected faults, first come first served; a request gets one at most."""

    def __init__(self) -> None:
        self._queue: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Inject a fault."""
        self._queue.append(fault)

    def clear(self) -> None:
        """Remove all faults."""
        self._queue.clear()

    def take(self, operation: Operation, topic_id: int | None) -> Fault | None:
        """The fault that hits this request, if any."""
        taken = None
        for fault in [each for each in self._queue if each.matches(operation, topic_id)]:
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
    """Respond to a request as a fault demands; None if the connection was closed instead."""
    if fault.kind == "latency":
        await asyncio.sleep(fault.secs)
    processed = await process() if fault.processes else None
    if fault.processes and processed is None:
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
    """The response that the client receives in place of the real one."""
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
        case "cut_json":
            response.body = response.body[: len(response.body) // 2]
    return response


async def _stall(secs: float, receive: Receive) -> None:
    leaving = asyncio.ensure_future(disconnected(receive))
    await asyncio.wait({leaving}, timeout=secs)
    leaving.cancel()


def reset(transport: asyncio.Transport) -> None:
    """End a connection with a TCP RST in place of the orderly FIN."""
    # Lingering for zero seconds is how a socket asks for an RST.
    transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
    )
    transport.abort()
