"""The endpoints for tests: configure the emulator, inject faults, inspect it.

Bodies are MessagePack, which can contain payloads that are not JSON.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from workato_streams_emulator.clock import parse
from workato_streams_emulator.deviations import Deviations
from workato_streams_emulator.exchange import Problem
from workato_streams_emulator.faults import Fault
from workato_streams_emulator.service import Service
from workato_streams_emulator.store import StoredMessage

T = TypeVar("T")


class NewTopic(msgspec.Struct):
    """The body of `POST /_emulator/topics`."""

    id: int | None
    name: str
    retention: int
    schema: list[dict[str, Any]]


class Load(msgspec.Struct):
    """The body of `POST /_emulator/topics/{id}/load`: payloads and, optionally, their times."""

    payloads: list[bytes]
    times: list[str] | None


def routes(service: Service) -> list[Route]:
    """The control plane's routes, below `/_emulator`."""
    plane = ControlPlane(service)
    return [
        Route("/reset", endpoint(plane.reset), methods=["POST"]),
        Route("/settings", endpoint(plane.configure), methods=["POST"]),
        Route("/faults", endpoint(plane.add_fault), methods=["POST"]),
        Route("/faults", endpoint(plane.clear_faults), methods=["DELETE"]),
        Route("/requests", endpoint(plane.requests), methods=["GET"]),
        Route("/requests", endpoint(plane.clear_requests), methods=["DELETE"]),
        Route("/topics", endpoint(plane.create_topic), methods=["POST"]),
        Route("/topics/{topic_id:int}/load", endpoint(plane.load), methods=["POST"]),
        Route("/topics/{topic_id:int}/deviations", endpoint(plane.deviate), methods=["POST"]),
        Route("/topics/{topic_id:int}/messages", endpoint(plane.messages), methods=["GET"]),
        Route("/topics/{topic_id:int}/expire", endpoint(plane.expire), methods=["POST"]),
        Route("/topics/{topic_id:int}/purge", endpoint(plane.purge), methods=["POST"]),
    ]


def endpoint(
    action: Callable[[Request, bytes], object],
) -> Callable[[Request], Awaitable[Response]]:
    """Make an endpoint of an action; its return value is the response."""

    async def respond(request: Request) -> Response:
        try:
            returned = action(request, await request.body())
        except Problem as problem:
            return Response(problem.message, problem.status)
        except (ValueError, msgspec.DecodeError) as exc:
            return Response(str(exc), HTTPStatus.BAD_REQUEST)
        return Response(msgspec.msgpack.encode(returned), media_type="application/msgpack")

    return respond


class ControlPlane:
    """The actions; each takes the request and its body."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def reset(self, _request: Request, _body: bytes) -> None:
        """Reset everything."""
        self._service.reset()

    def configure(self, _request: Request, body: bytes) -> None:
        """Change settings."""
        changes = _read(body, dict[str, Any])
        self._service.configure(self._service.settings.changed(changes))

    def add_fault(self, _request: Request, body: bytes) -> None:
        """Inject a fault."""
        self._service.faults.add(_read(body, Fault))

    def clear_faults(self, _request: Request, _body: bytes) -> None:
        """Remove all faults."""
        self._service.faults.clear()

    def requests(self, request: Request, _body: bytes) -> object:
        """Return the log, filtered by operation and topic."""
        wanted = {(name, value) for name, value in request.query_params.items() if value}
        return [
            entry.read()
            for entry in self._service.log
            if wanted <= {("operation", entry.operation), ("topic_id", str(entry.topic_id))}
        ]

    def clear_requests(self, _request: Request, _body: bytes) -> None:
        """Clear the log."""
        self._service.log.clear()

    def create_topic(self, _request: Request, body: bytes) -> int:
        """Create a topic and return its id."""
        new = _read(body, NewTopic)
        return self._service.store.add_topic(
            new.name, topic_id=new.id, retention=new.retention, schema=new.schema
        ).id

    def load(self, request: Request, body: bytes) -> list[str]:
        """Store messages with any content, and return their ids."""
        topic = self._topic(request)
        batch = _read(body, Load)
        times = None if batch.times is None else [parse(text) for text in batch.times]
        return self._service.add(topic, batch.payloads, times)

    def deviate(self, request: Request, body: bytes) -> None:
        """Set the deviations of a topic."""
        self._service.deviate(self._topic(request).id, _read(body, Deviations))

    def messages(self, request: Request, _body: bytes) -> list[StoredMessage]:
        """Return all messages in the topic."""
        topic = self._topic(request)
        horizon = self._service.horizon(topic)
        rows = self._service.store.page(topic.id, after=0, newer_than=horizon, limit=-1)
        return [StoredMessage(*row) for row in rows]

    def expire(self, request: Request, body: bytes) -> None:
        """Remove the topic's messages up to and including one."""
        topic = self._topic(request)
        position = self._service.store.find(topic.id, _read(body, str), newer_than="")
        if position is None:
            raise Problem(HTTPStatus.NOT_FOUND, "The topic has no such message")
        self._service.store.drop(topic.id, position)

    def purge(self, request: Request, _body: bytes) -> None:
        """Remove all messages of the topic."""
        self._service.store.drop(self._topic(request).id, self._service.store.last_position)

    def _topic(self, request: Request) -> Any:  # noqa: ANN401
        return self._service.topic(request.path_params["topic_id"])


def _read(body: bytes, kind: type[T]) -> T:
    return msgspec.msgpack.decode(body, type=kind)
