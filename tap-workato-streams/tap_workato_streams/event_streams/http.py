"""HTTP with one host: the transport, its responses, and the errors for what went wrong.

A response has a deadline, even if its bytes arrive slowly, and a size limit, also after
decompression. The messages of exceptions may quote a response, so only their type is reported.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import Buffer, override
from urllib3 import BaseHTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import ConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from .errors import RequestRejected, ServiceError, Unavailable
from .redaction import redact


@dataclass(frozen=True)
class Host:
    """A host of the API, and the names of its settings, for error messages."""

    url: str  # without a trailing slash
    token: str = field(repr=False)
    api: str = "api"  # or "developer_api": the prefix of its settings
    legacy: bool = False  # the legacy domain has other paths and no batch endpoint

    @property
    def url_setting(self) -> str:
        """The name of the setting that holds the URL."""
        return f"{self.api}_url"


class Response(NamedTuple):
    """A response that was read in full."""

    status: int
    headers: Mapping[str, str]  # with case-insensitive names
    content: bytes = b""  # decompressed

    @property
    def date(self) -> datetime | None:
        """The time by the service's clock, if the response contains it."""
        return _date(self.headers.get("Date", ""))

    @property
    def retry_after(self) -> float | None:
        """The seconds that the service asked to wait; it sends seconds, or a date by its clock."""
        value = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
            return float(value)
        until = _date(value)
        if until is None:
            return None
        return max(0.0, (until - (self.date or datetime.now(timezone.utc))).total_seconds())


def _date(value: str) -> datetime | None:
    """Parse the date of an HTTP header; None for any other text."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


# More than a page of 50 messages of 1 MB.
MAX_RESPONSE_BYTES = 128 * 1024 * 1024

# urllib3's warnings quote headers and malformed data.
logging.getLogger("urllib3").setLevel(logging.CRITICAL)


class ResponseTooLarge(HTTPError):
    """A response is larger than ``MAX_RESPONSE_BYTES``."""


class InvalidProxy(HTTPError):
    """The proxy settings of the environment cannot be used."""


class OneHostAdapter(HTTPAdapter):
    """Sends requests to one host, and reads each response within a deadline."""

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        try:
            pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        except (AttributeError, TypeError, ValueError):
            # The host's URL has been validated, so these exceptions are about the proxy.
            raise InvalidProxy from None
        is_secure = isinstance(pool, HTTPSConnectionPool)
        pool.ConnectionCls = _SecureConnection if is_secure else _Connection
        return pool  # type: ignore[no-any-return]

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

        Raises OSError, as requests' exceptions are, if there was no response; urllib3's HTTPError
        if it is incomplete or too large; and ValueError if the size of a chunk is negative.
        """
        # Unlike a list of parts, this does not hold the body twice when it is complete.
        body = io.BytesIO()
        # Closing only closes the connection if the response was not read to its end.
        with closing(self.send(request, stream=True, **kwargs).raw) as raw:
            while part := raw.read(1024 * 1024, decode_content=True):
                body.write(part)
                if body.tell() > MAX_RESPONSE_BYTES:
                    raise ResponseTooLarge
            return Response(raw.status, raw.headers, body.getvalue())


# A page of small messages in one or two reads.
BUFFER_BYTES = 65_536


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket; its timeout is a deadline, counted from the creation of this object."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._sock = sock
        self._raw = raw
        # All requests have a timeout.
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    @override
    def readable(self) -> bool:
        return True

    @override
    def readinto(self, buffer: Buffer, /) -> int | None:
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
    """A response with a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - of http
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_DeadlineReader(sock, self.fp.detach()), BUFFER_BYTES)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


CHECK_PROXY = "check the proxy settings (https_proxy)"
ADVICE = {
    300: "check {url}: redirects are not followed",  # for all 3xx
    401: "check {token} and data_center",
    403: "give the API client of {token} access to {access}",
    404: "check {names}data_center and {url}",
    407: f"the proxy requires a user name and password; {CHECK_PROXY}",
    429: "raise the quota of the workspace, or set max_requests_per_minute below it",
}
CUT_OFF = "if a gateway ends long polls, set timeout_secs below its timeout"

# Errors that a retry would not fix.
FINAL: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "no secure connection ({reason}); check {url}"),
    (ResponseTooLarge, f"the response is larger than {MAX_RESPONSE_BYTES >> 20} MB; check {{url}}"),
    (InvalidProxy, f"the proxy cannot be used; {CHECK_PROXY}"),
)


def check(
    response: Response, subject: str, host: Host, body: bytes = b"", *, polls: bool = False
) -> None:
    """Raise ``Unavailable`` for 408, 425, 429 and 5xx, and ``RequestRejected`` for other errors.

    A gateway may have ended a request that ``polls``.
    """
    status = response.status
    if 200 <= status < 300:
        return
    reason = redact(_reason(response), [host.token], body)
    retriable = status in {408, 425, 429} or status >= 500
    other = CUT_OFF if polls and status == 504 else "" if retriable else "check the settings"
    advice = ADVICE.get(300 if status < 400 else status, other).format(
        token=f"{host.api}_token",
        url=host.url_setting,
        access="this topic" if host.api == "api" else "the topics of the workspace",
        names="the topic id, " if host.api == "api" else "",
    )
    raise (Unavailable if retriable else RequestRejected)(
        f"{subject}: HTTP {status} ({reason}){advice and '; '}{advice}",
        status=status,
        reason=reason,
        retry_after=response.retry_after,
    )


def unreachable(
    exc: BaseException, subject: str, host: Host, *, polls: bool = False
) -> ServiceError:
    """Return the error for an exception of the HTTP libraries: no response, or only part of one.

    A gateway may have ended a request that ``polls``.
    """
    chain = list(_chain(exc))
    for kind, text in FINAL:
        if any(isinstance(each, kind) for each in chain):
            line = text.format(reason=_kind(chain[-1]), url=host.url_setting)
            return RequestRejected(f"{subject}: {line}", reason=line, sent=kind is ResponseTooLarge)
    # requests checks before the first request that the file exists; ssl reads it for a connection.
    is_missing = isinstance(exc, OSError) and not isinstance(exc, requests.RequestException)
    if is_missing or getattr(chain[-1], "library", None) in {"X509", "PEM"}:
        line = "cannot read the CA certificates; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
        return RequestRejected(f"{subject}: {line}", reason=line, sent=False)
    # http.client has the status of a failed CONNECT request only in its message.
    tunnels = (re.match(r"Tunnel connection failed: (\d{3})\b", str(each)) for each in chain)
    status = next((tunnel[1] for tunnel in tunnels if tunnel), None)
    if status == "407":
        line = f"{subject}: HTTP 407: {ADVICE[407]}"
        return RequestRejected(line, reason=ADVICE[407], sent=False)
    reason = f"the proxy responded with HTTP {status}" if status else _kind(chain[-1])
    sent = not any(isinstance(each, NewConnectionError | ConnectTimeoutError) for each in chain)
    advice = f"check the network and {host.url_setting}{f'; {CUT_OFF}' if polls and sent else ''}"
    line = f"{subject}: no complete response ({reason}); {advice}"
    return Unavailable(line, reason=reason, sent=sent)


def _reason(response: Response) -> str:
    """Return the message of a JSON error, or else the name of the status."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    message = (body.get("message") or body.get("error")) if isinstance(body, dict) else None
    if message:
        return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    return http.client.responses.get(response.status, "no reason given")


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, the root cause last."""
    inner: BaseException | None = exc
    # A ServiceError is the context if the caller handles the error of another request.
    while inner is not None and not isinstance(inner, ServiceError):
        yield inner
        inner = inner.__cause__ or inner.__context__


def _kind(exc: BaseException) -> str:
    """Describe an exception without any text that may quote the response."""
    detail: str | None = None
    if isinstance(exc, ssl.SSLCertVerificationError):
        detail = exc.verify_message
    elif isinstance(exc, ssl.SSLError):
        detail = getattr(exc, "reason", None)
    elif isinstance(exc, http.client.RemoteDisconnected):
        detail = "connection closed without a response"
    elif isinstance(exc, OSError):
        detail = exc.strerror
    return f"{type(exc).__name__}: {detail}" if detail else type(exc).__name__
