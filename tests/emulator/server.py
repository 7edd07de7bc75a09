"""The HTTP server: uvicorn, with a way to break a connection, and a quick end."""

from __future__ import annotations

import os
import socket
import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import uvicorn
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tests.emulator.app import application
from tests.emulator.endpoint import TRANSPORT
from tests.emulator.service import Service

if TYPE_CHECKING:
    from types import FrameType

HOST = "127.0.0.1"
# Longer than any test: else the server ends idle connections while a client sends on them.
KEEP_ALIVE_SECS = 3600


class Protocol(HttpToolsProtocol):
    """Hands the connection's transport to the application, for the faults that end it."""

    @override
    def on_headers_complete(self) -> None:
        # ASGI's `extensions` is the place for what a server offers beyond the standard.
        self.scope["extensions"] = {TRANSPORT: self.transport}  # type: ignore[dict-item]
        super().on_headers_complete()


class Server(uvicorn.Server):
    """Says where it listens once it does, and ends without waiting for long polls."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        url = f"http://{HOST}:{self._listener.getsockname()[1]}"
        print(msgspec.json.encode({"url": url}).decode(), flush=True)  # noqa: T201

    @override
    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        end()


def end() -> None:
    """End this process at once: SQLite's file is whole at any moment, nothing needs closing."""
    os._exit(0)


def serve(*, port: int, database: str, until_stdin_closes: bool) -> None:
    """Serve until a signal comes; with `until_stdin_closes`, or until the parent is gone."""
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
    Server(config, listener).run(sockets=[listener])


def _wait_for_parent() -> None:
    # A killed parent's end of the pipe is closed for it, whatever it died of.
    sys.stdin.buffer.read()
    end()
