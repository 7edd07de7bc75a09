"""PostgreSQL's Unix socket as a port of this machine, for plugins that only support TCP."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from typing_extensions import override

HOST = "127.0.0.1"
CHUNK_BYTES = 65_536


def available(port: int) -> int:
    """Return `port`, or 0 (any) if another program listens on it."""
    with socket.socket() as probe:
        # As servers do, so that connections of an earlier run do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return 0
    return port


@contextmanager
def forwarded(path: Path, port: int) -> Iterator[int]:
    """Forward a port, or any free one if it is 0, to the socket at `path`; yield the port."""

    class Connection(socketserver.BaseRequestHandler):
        @override
        def handle(self) -> None:
            client: socket.socket = self.request
            with socket.socket(socket.AF_UNIX) as server:
                server.connect(str(path))
                back = threading.Thread(target=_copy, args=(server, client), daemon=True)
                back.start()
                _copy(client, server)
                back.join()

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server((HOST, port), Connection) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Forward until one side ends, and end the other: a session must not outlive its client."""
    with contextlib.suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            sink.sendall(chunk)
    for each in (source, sink):
        with contextlib.suppress(OSError):
            # Unlike `close`, this wakes the thread that copies in the other direction.
            each.shutdown(socket.SHUT_RDWR)
