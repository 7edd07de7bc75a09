"""A server whose responses are written byte by byte, so that they may violate the HTTP standard."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from typing_extensions import Self


def http_response(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """Format a response as it is sent."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


class RawService:
    """Serves each connection in a thread; `respond` gets it once a request has been read in full.

    The number that it also gets is that of the request, from 0.
    """

    def __init__(
        self, respond: Callable[[socket.socket, int], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self.requests: list[bytes] = []
        self.connections = 0
        self._respond = respond
        self._tls = tls
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        """Return the running service."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close all connections."""
        # Closing the socket does not wake a thread in accept(), which keeps the port open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                self._open.append(connection)
                threading.Thread(target=self._serve, args=[connection], daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as closing:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            closing.enter_context(connection)
            while request := _read_request(connection):
                with self._lock:
                    number = len(self.requests)
                    self.requests.append(request)
                self._respond(connection, number)


def _read_request(connection: socket.socket) -> bytes:
    """Read a whole request; return nothing if the client closed the connection."""
    request = b""
    while b"\r\n\r\n" not in request:
        if not (part := connection.recv(65_536)):
            return b""
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    lines = (line.lower().split(b":") for line in head.split(b"\r\n"))
    length = next((int(line[1]) for line in lines if line[0] == b"content-length"), 0)
    while len(body) < length:
        if not (part := connection.recv(65_536)):
            return b""
        body += part
    return head + b"\r\n\r\n" + body
