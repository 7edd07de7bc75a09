"""The steps that are common to all requests: log, latency, token, quota, faults, response."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from workato_streams_emulator.exchange import ApiResponse, Entry, Operation, Problem, disconnected
from workato_streams_emulator.faults import play
from workato_streams_emulator.service import DEVELOPER_TOKEN, TOKEN, Call, Service

# None if the client disconnected before there was a response.
Handler = Callable[[Service, Call], Awaitable[ApiResponse | None]]


MAX_BODY_BYTES = 1_048_576
TRANSPORT = "emulator.transport"


class Endpoint:
    """An operation of the service as an ASGI application."""

    def __init__(
        self,
        service: Service,
        operation: Operation,
        handler: Handler,
        methods: tuple[str, ...] = ("POST",),
    ) -> None:
        self._service = service
        self._operation = operation
        self._handler = handler
        self._methods = methods
        self._token = {"topics": DEVELOPER_TOKEN, "other": None}.get(operation, TOKEN)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        service = self._service
        text = scope["path_params"].get("topic_id", "")
        topic_id = int(text) if text.isdecimal() else None
        body = await read_body(receive)
        entry = Entry(self._operation, topic_id, scope, body)
        log = service.log
        log.append(entry)
        service.connections.add(scope["extensions"][TRANSPORT])
        if service.settings.latency_secs:
            await asyncio.sleep(service.settings.latency_secs)
            if service.log is not log:
                return  # There was a reset, which has closed the connection.
        try:
            response = await self._respond(scope, topic_id, body, receive)
        except Problem as problem:
            response = problem.response()
        if response is None:
            entry.finish(None)
            return
        entry.finish(response.status)
        await self._send(response, scope, receive, send)

    async def _respond(
        self, scope: Scope, topic_id: int | None, body: bytes, receive: Receive
    ) -> ApiResponse | None:
        service = self._service
        if self._token is not None:
            self._check_token(scope)
            service.admit(developer=self._operation == "topics")
        fault = service.faults.take(self._operation, topic_id)
        log = service.log

        async def process() -> ApiResponse | None:
            if service.log is not log:
                return None  # as above
            if len(body) > MAX_BODY_BYTES:
                raise Problem(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"The body has {len(body)} bytes, more than {MAX_BODY_BYTES}",
                )
            if scope["method"] not in self._methods:
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "Method not allowed")
            query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
            call = Call(scope["method"], topic_id, query, body, receive, fault)
            try:
                return await self._handler(service, call)
            except Problem as problem:
                return problem.response()

        if fault is None:
            return await process()
        return await play(fault, process, scope["extensions"][TRANSPORT], receive)

    def _check_token(self, scope: Scope) -> None:
        expected = f"Bearer {self._token}".encode()
        if not any(
            name == b"authorization" and value == expected for name, value in scope["headers"]
        ):
            raise Problem(HTTPStatus.UNAUTHORIZED, "Unauthorized: the token is not valid")

    async def _send(
        self, response: ApiResponse, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = {
            "content-type": "application/json",
            "content-length": str(len(response.body)),
            **response.headers,
        }
        if self._service.settings.date_header and response.dated:
            offset_secs = self._service.settings.date_offset_secs
            headers.setdefault("date", self._service.clock.http_date(offset_secs))
        start = {
            "type": "http.response.start",
            "status": response.status,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
        await send(start)
        if response.cut:
            half = response.body[: len(response.body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
            scope["extensions"][TRANSPORT].close()
            await disconnected(receive)
        else:
            await send({"type": "http.response.body", "body": response.body})


async def read_body(receive: Receive) -> bytes:
    """Read the whole body of a request."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        return body
    parts = [body]
    while message.get("more_body", False):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)
