"""HTTP with one host: the transport, its responses, and the errors for what went wrong.

A response has a deadline, even if its bytes arrive slowly, and a size limit, also after
decompression. The messages of exceptions may quote a response, so only their type is reported.
"""

from __future__ import annotations

import functools
import http.client
import io
import json
import logging
import re
import ssl
import time
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import quote

import requests
from requests.adapters import HTTPAdapter
from typing_extensions import override
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from .errors import RequestRejected, ServiceError, Unavailable, Unexpected

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping

    from typing_extensions import Buffer
    from urllib3 import BaseHTTPResponse, HTTPResponse
    from urllib3.connectionpool import ConnectionPool

REASON_LIMIT = 300
REDACTED = "***"
# A shorter sequence may match characters of a payload by chance.
FRAGMENT = 8
_QUOTES = "\"'`"


def redact(text: str, token: str, body: bytes = b"") -> str:
    """Convert a text from the service to one short line without secrets.

    Args:
        text: The text.
        token: The token of the request.
        body: The body of the request, whose values must not appear in the line.
    """
    for form in {token, json.dumps(token)[1:-1], quote(token, safe="")}:
        text = text.replace(form, REDACTED)
    text = re.sub(r"\s+", " ", text).strip()[:REASON_LIMIT]
    if not body:
        return _without_fragments(text, token)
    try:
        values = list(_values(json.loads(body, parse_int=str, parse_float=str)))
    except (ValueError, RecursionError):
        return "reason withheld: it may quote the payload"
    forms = {form for value in values for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = _without_value(text, form)
    return _without_fragments(text, "\0".join([token, *values]))


def _values(value: object) -> Iterator[str]:
    """Yield the strings and numbers in a decoded JSON value, at any depth, without field names."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _values(each)
    elif isinstance(value, str) and value:
        yield value


def _forms(value: str) -> set[str]:
    """Yield a value as it may be quoted: unchanged, on one line, or escaped once or twice."""
    escaped = json.dumps(value)[1:-1]
    return {
        " ".join(value.split()),
        escaped,
        json.dumps(escaped)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
    } - {""}


def _without_value(text: str, value: str) -> str:
    if value not in text:
        return text
    before, after = (r"(?<!\w)", r"(?!\w)")
    if len(value) == 1 and value.isalpha():
        # A short value may be a word of the text, unless it is quoted.
        before, after = rf"(?<=[{_QUOTES}])", rf"(?=[{_QUOTES}])"
    return re.sub(before + re.escape(value) + after, REDACTED, text)


def _without_fragments(text: str, values: str) -> str:
    """Replace parts of longer values and of the token, which the service may have cut off."""
    kept = ""
    position = 0
    while position < len(text):
        end = position + FRAGMENT
        if len(text[position:end]) == FRAGMENT and text[position:end] in values:
            while end < len(text) and text[position : end + 1] in values:
                end += 1
            kept += REDACTED
            position = end
        else:
            kept += text[position]
            position += 1
    return kept


@dataclass(frozen=True)
class Host:
    """A host of the API, and the names of its settings, for error messages.

    Attributes:
        url: The base URL, without a trailing slash.
        token: The Bearer token.
        api: ``api`` or ``developer_api``: the prefix of its settings.
        legacy: Whether it is the legacy domain, which has other paths and no batch endpoint.
    """

    url: str
    token: str = field(repr=False)
    api: str = "api"
    legacy: bool = False

    @property
    def token_setting(self) -> str:
        """The name of the setting that holds the token."""
        return f"{self.api}_token"

    @property
    def url_setting(self) -> str:
        """The name of the setting that holds the URL."""
        return f"{self.api}_url"


class Response(NamedTuple):
    """A response that was read in full.

    Attributes:
        status: The HTTP status.
        headers: The headers; their names are case-insensitive.
        content: The body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes = b""

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


# All responses within a second have the same Date header, so parsed dates are cached.
@functools.lru_cache(maxsize=2)
def _date(value: str) -> datetime | None:
    """Parse the date of an HTTP header; None for any other text."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)


# More than a page of 50 messages of 1 MB.
MAX_RESPONSE_BYTES = 128 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024

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
        return cast("ConnectionPool", pool)

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
            OSError: There was no response (requests' exceptions are of this type).
            urllib3.exceptions.HTTPError: The response is incomplete or too large.
            ValueError: The size of a chunk is negative, because http.client does not check it.
        """
        raw: HTTPResponse = self.send(request, stream=True, **kwargs).raw
        try:
            content = _read(raw)
        except BaseException:
            raw.close()
            raise
        return Response(raw.status, raw.headers, content)


def _read(raw: HTTPResponse) -> bytes:
    # Unlike a list of parts, this does not hold the body twice when it is complete.
    body = io.BytesIO()
    while part := raw.read(CHUNK_BYTES, decode_content=True):
        body.write(part)
        if body.tell() > MAX_RESPONSE_BYTES:
            raise ResponseTooLarge
    return body.getvalue()


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
    """A response with a deadline."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - of http
        super().__init__(sock, *args, **kwargs)
        reader = _DeadlineReader(sock, self.fp.detach())
        self.fp = io.BufferedReader(reader)


class _Connection(HTTPConnection):
    response_class = _Response


class _SecureConnection(HTTPSConnection):
    response_class = _Response


RETRIABLE = frozenset({408, 425, 429})
# A refused connection, an unknown host, or a connection timeout.
NO_CONNECTION = (NewConnectionError, ConnectTimeoutError)
PROXY_SETTINGS = "the proxy settings (https_proxy)"
MEDIA_TYPES = frozenset({"application/json", "application/xml", "text/html", "text/plain"})
ADVICE = {
    401: "check {token} and data_center",
    403: "give the API client of {token} access to {access}",
    404: "check {names}data_center and {url}",
    407: "the proxy requires a user name and password; check " + PROXY_SETTINGS,
    429: "raise the quota of the workspace, or set max_requests_per_minute below it",
}

# Errors that a retry would not fix.
FINAL: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "no secure connection ({reason}); check {url}"),
    (ResponseTooLarge, f"the response is larger than {MAX_RESPONSE_BYTES >> 20} MB; check {{url}}"),
    (InvalidProxy, f"the proxy cannot be used; check {PROXY_SETTINGS}"),
)


def check(response: Response, subject: str, host: Host, body: bytes = b"") -> None:
    """Raise the error for a response whose status is not 2xx.

    Raises:
        Unavailable: For 408, 425, 429 and 5xx.
        RequestRejected: For every other status except 2xx.
    """
    status = response.status
    if 200 <= status < 300:
        return
    reason = redact(_reason(response), host.token, body)
    retriable = status in RETRIABLE or status >= 500
    advice = (ADVICE.get(status) or _general_advice(status, retriable=retriable)).format(
        token=host.token_setting,
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


def unreachable(exc: BaseException, subject: str, host: Host) -> ServiceError:
    """Return the error for an exception of the HTTP libraries: no response, or only part of one."""
    chain = list(_chain(exc))
    for kind, text in FINAL:
        if any(isinstance(each, kind) for each in chain):
            line = text.format(reason=_kind(chain[-1]), url=host.url_setting)
            return RequestRejected(f"{subject}: {line}", reason=line)
    # requests checks before the first request that the file exists; ssl reads it for a connection.
    is_missing = isinstance(exc, OSError) and not isinstance(exc, requests.RequestException)
    if is_missing or getattr(chain[-1], "library", None) in {"X509", "PEM"}:
        line = "cannot read the CA certificates; check REQUESTS_CA_BUNDLE and CURL_CA_BUNDLE"
        return RequestRejected(f"{subject}: {line}", reason=line)
    status = _tunnel_status(chain)
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return RequestRejected(f"{subject}: HTTP 407: {ADVICE[407]}", reason=ADVICE[407])
    reason = f"the proxy responded with HTTP {status}" if status else _kind(chain[-1])
    advice = f"check the network and {host.url_setting}"
    return Unavailable(
        f"{subject}: no complete response ({reason}); {advice}",
        reason=reason,
        sent=not any(isinstance(each, NO_CONNECTION) for each in chain),
    )


def unexpected(response: Response, subject: str, host: Host) -> Unexpected:
    """Return the error for a response with status 2xx and an unexpected body."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    named = kind if kind in MEDIA_TYPES else "other content" if kind else "no content type"
    reason = f"{len(response.content)} bytes, {named}"
    return Unexpected(
        f"{subject}: unexpected response ({reason}); check {host.url_setting}",
        status=response.status,
        reason=reason,
    )


def _general_advice(status: int, *, retriable: bool) -> str:
    if status < 400:
        return "check {url}: redirects are not followed"
    return "" if retriable else "check the settings"


def _reason(response: Response) -> str:
    """Return the message of a JSON error, or else the name of the status."""
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):
        body = None
    message = (body.get("message") or body.get("error")) if isinstance(body, dict) else None
    if message:
        return message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
    try:
        return HTTPStatus(response.status).phrase
    except ValueError:
        return "no reason given"


def _chain(exc: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes, the root cause last.

    The chain ends before a ServiceError: it is the context because the caller handles the error of
    another request.
    """
    inner: BaseException | None = exc
    while inner is not None and not isinstance(inner, ServiceError):
        yield inner
        inner = inner.__cause__ or inner.__context__


def _kind(exc: BaseException) -> str:
    """Describe an exception without any text that may quote the response."""
    detail = ""
    if isinstance(exc, ssl.SSLCertVerificationError):
        detail = exc.verify_message
    elif isinstance(exc, ssl.SSLError):
        detail = getattr(exc, "reason", None) or ""
    elif isinstance(exc, http.client.RemoteDisconnected):
        detail = "connection closed without a response"
    elif isinstance(exc, OSError) and exc.errno is not None:
        detail = exc.strerror or ""
    return f"{type(exc).__name__}: {detail}" if detail else type(exc).__name__


def _tunnel_status(chain: list[BaseException]) -> int | None:
    """Return the status of a failed CONNECT request, which http.client only has in its message."""
    for exc in chain:
        if match := re.match(r"Tunnel connection failed: (\d{3})\b", str(exc)):
            return int(match[1])
    return None
