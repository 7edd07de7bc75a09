"""The HTTP transport, based on requests and urllib3.

A response has a deadline, even if its bytes arrive slowly, and a size limit, also after
decompression. Interim responses are skipped.
"""

from __future__ import annotations

import http.client
import io
import logging
import time
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from .response import Response

if TYPE_CHECKING:
    import socket

    from typing_extensions import Buffer
    from urllib3 import BaseHTTPResponse, HTTPResponse
    from urllib3.connectionpool import ConnectionPool

# More than a page of 50 messages of 1 MB.
MAX_RESPONSE_BYTES = 128 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
# The version number of HTTP/1.1 in urllib3.
HTTP_1_1 = 11

# urllib3's warnings quote headers and malformed data.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class ResponseTooLarge(HTTPError):
    """A response is larger than ``MAX_RESPONSE_BYTES``."""


class InvalidProxy(HTTPError):
    """The proxy settings of the environment cannot be used."""


class OneHostAdapter(HTTPAdapter):
    """Sends requests to one host, whose connection pool is looked up only once."""

    _pool: ConnectionPool | None = None

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        if self._pool is None:
            try:
                pool = super().get_connection_with_tls_context(*args, **kwargs)
            except (AttributeError, TypeError, ValueError):
                # The host's URL has been validated, so these exceptions are about the proxy.
                raise InvalidProxy from None
            if isinstance(pool, HTTPSConnectionPool):
                pool.ConnectionCls = _SecureConnection
            elif isinstance(pool, HTTPConnectionPool):
                pool.ConnectionCls = _Connection
            self._pool = pool
        return self._pool

    @override
    def build_response(
        self, req: requests.PreparedRequest, resp: BaseHTTPResponse
    ) -> requests.Response:
        # Without cookies, for which requests would print a traceback if their date is malformed.
        response = requests.Response()
        response.raw = resp
        return response

    def exchange(self, request: requests.PreparedRequest, **kwargs: Any) -> Response:  # noqa: ANN401 - of requests
        """Send a request, and read the whole response; ``kwargs`` as for ``send``.

        Raises:
            InvalidProxy: The proxy settings of the environment cannot be used.
            ResponseTooLarge: The response is larger than ``MAX_RESPONSE_BYTES``.
            requests.RequestException: There was no response.
            urllib3.exceptions.HTTPError: The response is incomplete.
            ValueError: The size of a chunk is negative, because http.client does not check it.
        """
        raw: HTTPResponse = self.send(request, stream=True, **kwargs).raw
        try:
            content = _read(raw)
        except BaseException:
            raw.close()
            raise
        is_last = raw.version < HTTP_1_1 or raw.headers.get("Connection", "").lower() == "close"
        return Response(raw.status, raw.headers, content, is_last)

    @override
    def close(self) -> None:
        super().close()
        self._pool = None


def _read(raw: HTTPResponse) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := raw.read(CHUNK_BYTES, decode_content=True):
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            raise ResponseTooLarge
        parts.append(part)
    return b"".join(parts)


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket; its timeout is a deadline, counted from the creation of this object."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        timeout = sock.gettimeout()
        self._deadline = None if timeout is None else time.monotonic() + timeout

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int | None:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    @override
    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """A response with a deadline, without the interim responses before it."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - of http
        super().__init__(sock, *args, **kwargs)
        reader = _DeadlineReader(sock, self.fp.detach())
        self.fp = io.BufferedReader(reader)

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # private
        # http.client skips 100 (Continue) only; 103 (Early Hints) is an interim response, too.
        is_interim = 100 < status < 200 and status != http.HTTPStatus.SWITCHING_PROTOCOLS
        return version, int(http.HTTPStatus.CONTINUE) if is_interim else status, reason


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response
