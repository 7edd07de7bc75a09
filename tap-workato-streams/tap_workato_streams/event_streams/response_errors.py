"""The errors for responses and for exceptions of the HTTP libraries.

The messages of these exceptions may quote a response, so only their type is reported.
"""

from __future__ import annotations

import http.client
import json
import re
import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from .errors import RequestRejected, Unavailable
from .redaction import redact
from .transport import MAX_RESPONSE_BYTES, InvalidProxy, ResponseTooLarge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .errors import ServiceError
    from .hosts import Host
    from .response import Response

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

    Args:
        response: The response.
        subject: The beginning of the line, such as ``orders (topic 11)``.
        host: The host that sent the response.
        body: The body of the request, which the response may quote.

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
        f"{subject}: HTTP {status} ({reason}); {advice}",
        status=status,
        reason=reason,
        retry_after=response.retry_after,
    )


def unreachable(exc: BaseException, subject: str, host: Host) -> ServiceError:
    """Return the error for an exception of the HTTP libraries: no response, or only part of one.

    Returns:
        RequestRejected if a retry would not help, for example for an untrusted certificate;
        otherwise Unavailable.
    """
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


def unexpected(response: Response, subject: str, host: Host) -> Unavailable:
    """Return the error for a response with status 2xx and an unexpected body.

    Returns:
        Unavailable, because a gateway may have responded, or the body may have been truncated.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    named = kind if kind in MEDIA_TYPES else "other content" if kind else "no content type"
    reason = f"{len(response.content)} bytes, {named}"
    return Unavailable(
        f"{subject}: unexpected response ({reason}); check {host.url_setting}",
        status=response.status,
        reason=reason,
    )


def _general_advice(status: int, *, retriable: bool) -> str:
    if status < 400:
        return "check {url}: redirects are not followed"
    return "try again later" if retriable else "check the settings"


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
    """Yield an exception and its causes, the root cause last."""
    inner: BaseException | None = exc
    while inner is not None:
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
    elif isinstance(exc, http.client.IncompleteRead):
        detail = f"{_size(exc.partial)} bytes read, {exc.expected or 'an unknown number'} missing"
    elif isinstance(exc, OSError) and exc.errno is not None:
        detail = exc.strerror or ""
    return f"{type(exc).__name__}: {detail}" if detail else type(exc).__name__


def _size(partial: bytes | int) -> int:
    # urllib3 has the number of bytes here, http.client the bytes themselves.
    return (
        partial if isinstance(partial, int) else len(partial) if isinstance(partial, bytes) else 0
    )


def _tunnel_status(chain: list[BaseException]) -> int | None:
    """Return the status of a failed CONNECT request, which http.client only has in its message."""
    for exc in chain:
        if match := re.match(r"Tunnel connection failed: (\d{3})\b", str(exc)):
            return int(match[1])
    return None
