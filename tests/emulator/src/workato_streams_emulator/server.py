"""The HTTP server: uvicorn, the route of each operation, and the connections."""

from __future__ import annotations

import os
import socket
import sys
import threading
from http import HTTPStatus
from types import FrameType
from typing import NoReturn

import msgspec
import uvicorn
from starlette.routing import Mount, Route, Router
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from workato_streams_emulator import control_plane, developer
from workato_streams_emulator.consume import consume
from workato_streams_emulator.endpoint import TRANSPORT, Endpoint
from workato_streams_emulator.exchange import Problem
from workato_streams_emulator.openapi import describe
from workato_streams_emulator.publish import publish, publish_batch
from workato_streams_emulator.service import DEVELOPER_TOKEN, TOKEN, Call, Service

HOST = "127.0.0.1"
# Longer than any test, so that the server never closes a connection that a client is about to use.
KEEP_ALIVE_SECS = 3600
TOPICS = "/api/event_streams/topics"
USAGE = """\
The emulator is running; stop it with Ctrl-C. The connectors' settings, and commands that create
a topic and publish to it:

api_url              {url}
api_token            {token}
developer_api_url    {url}
developer_api_token  {developer_token}

curl --fail-with-body -H "Authorization: Bearer {developer_token}" \\
  -H "Content-Type: application/json" -d '{{"name": "shipments"}}' {url}{topics}
curl --fail-with-body -H "Authorization: Bearer {token}" \\
  -d '{{"order_id": "ORD-1", "total": 1.10}}' {url}/api/v1/topics/1/publish
"""


async def not_found(_service: Service, _call: Call) -> NoReturn:
    """Respond with 404 to unknown paths, such as a batch endpoint in the legacy domain."""
    raise Problem(HTTPStatus.NOT_FOUND, "Not found")


def application(service: Service) -> Router:
    """The emulator as an ASGI application."""
    consuming = Endpoint(service, "consume", consume)
    publishing = Endpoint(service, "publish", publish)
    batch = Endpoint(service, "batch", publish_batch)
    listing = Endpoint(service, "topics", developer.topics, ("GET", "POST"))
    topic = Endpoint(service, "topics", developer.topic, ("GET", "PUT", "DELETE"))
    purge = Endpoint(service, "topics", developer.purge, ("PUT",))
    description = Endpoint(service, "other", describe, ("GET",))
    any_method = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
    other = Endpoint(service, "other", not_found, any_method)
    # The routes are tried in this order, so the most frequent comes first.
    return Router(
        [
            Route("/api/v1/topics/{topic_id}/consume", consuming),
            Route("/api/v1/batch/topics/{topic_id}/publish", batch),
            Route("/api/v1/topics/{topic_id}/publish", publishing),
            Route("/api/pubsub/topics/{topic_id}/consume", consuming),
            Route("/api/pubsub/topics/{topic_id}/publish", publishing),
            Route(TOPICS, listing),
            Route(TOPICS + "/{topic_id}", topic),
            Route(TOPICS + "/{topic_id}/purge", purge),
            Route("/api/v1/openapi.json", description),
            Mount("/_emulator", routes=control_plane.routes(service)),
            Route("/{path:path}", other),
        ],
        redirect_slashes=False,
    )


class Protocol(HttpToolsProtocol):
    """Passes the connection's transport to the application, for the faults that close it."""

    @override
    def on_headers_complete(self) -> None:
        # ASGI reserves `extensions` for features that are not part of the standard.
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]
        super().on_headers_complete()


class Server(uvicorn.Server):
    """Prints its URL once it listens, and shuts down without waiting for long polls."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, *, with_usage: bool
    ) -> None:
        super().__init__(config)
        self._listener = listener
        self._with_usage = with_usage

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        print(msgspec.json.encode({"url": url}).decode(), flush=True)  # noqa: T201
        if self._with_usage:
            tokens = {"token": TOKEN, "developer_token": DEVELOPER_TOKEN}
            sys.stderr.write(USAGE.format(url=url, topics=TOPICS, **tokens))

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end()


def end() -> None:
    """Exit immediately: the SQLite file is always consistent, so nothing needs to be closed."""
    os._exit(0)


def serve(*, port: int, database: str, until_stdin_closes: bool) -> None:
    """Serve until a signal arrives or, with `until_stdin_closes`, until the parent exits."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((HOST, port))
    if until_stdin_closes:
        threading.Thread(target=_wait_for_parent, daemon=True).start()
    config = uvicorn.Config(
        application(Service(database)),
        http=Protocol,
        ws="none",
        lifespan="off",
        loop="uvloop",
        log_level="warning",
        access_log=False,
        date_header=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECS,
    )
    Server(config, listener, with_usage=not until_stdin_closes).run(sockets=[listener])


def _wait_for_parent() -> None:
    # The kernel closes the parent's end of the pipe even if the parent is killed.
    sys.stdin.buffer.read()
    end()
