"""The errors of the service and of the settings.

    EventStreamsError
      x SettingError        a setting is wrong in a way that only the run can show
      x Stopped             the run is being stopped
      x QuotaStoreError     the store of a shared quota cannot be used
      + ServiceError        the service responded with an error, or did not respond
        x RequestRejected   no retry helps: redirects, and 4xx other than those below
        + Unavailable       worth a retry: 408, 425, 429, 5xx, no or an unexpected response
          x GaveUp          retries took longer than ``max_retry_secs``

The text of an exception is the line that the user sees: the topic, the status, the cause, the
remedy. It never contains a token or a payload.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

if TYPE_CHECKING:
    from .hosts import Host

REASON_LIMIT = 300
# A refused connection, an unknown host, or no response to the attempt to connect.
NO_CONNECTION = (NewConnectionError, ConnectTimeoutError)
RETRIABLE = frozenset({408, 425, 429})

ADVICE = {
    401: "check {token} and data_center",
    403: "give the API client of {token} access to {access}",
    404: "check {names}data_center and {url}",
    429: "raise the quota of the workspace, or set max_requests_per_minute below it",
}


class EventStreamsError(Exception):
    """Base class of all errors of this connector; its text is one line for the user."""


class SettingError(EventStreamsError):
    """A setting is wrong in a way that only the run can show."""


class Stopped(EventStreamsError):
    """The run is being stopped; no more requests are sent."""


class QuotaStoreError(EventStreamsError):
    """The store of a shared quota cannot be used."""


class ServiceError(EventStreamsError):
    """The service responded with an error, or did not respond.

    Args:
        line: The line for the user.
        status: The HTTP status; None if there was no response.
        reason: The reason that the service gave, on one line, without secrets.
        retry_after: The seconds that the service asked to wait, if it did.
        sent: Whether the service may have received the request.
    """

    def __init__(
        self,
        line: str,
        *,
        status: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(line)
        self.sent = sent
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class RequestRejected(ServiceError):
    """The request will not succeed, however often it is sent."""


class Unavailable(ServiceError):
    """The request may succeed if it is sent again."""


class GaveUp(Unavailable):
    """Retries took longer than ``max_retry_secs``."""


def check(response: requests.Response, subject: str, host: Host) -> None:
    """Raise the error for a response whose status is not 2xx.

    Args:
        response: The response, with its body read.
        subject: What the line begins with, such as ``orders (topic 11)``.
        host: The host that sent it.

    Raises:
        Unavailable: For 408, 425, 429 and 5xx.
        RequestRejected: For every other status but 2xx.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    reason = _reason(response, host.token)
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
        retry_after=_retry_after(response),
    )


def unreachable(exc: requests.RequestException, subject: str, host: Host) -> ServiceError:
    """The error for an exception of ``requests``: no response, or only a part of one.

    Args:
        exc: What ``requests`` raised.
        subject: What the line begins with.
        host: The host that was asked.

    Returns:
        RequestRejected if the certificate is not trusted, which no retry fixes; else Unavailable.
    """
    cause: BaseException = exc
    sent = True
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
        sent = sent and not isinstance(cause, NO_CONNECTION)
    reason = _one_line(f"{type(cause).__name__}: {cause}")
    if isinstance(exc, requests.exceptions.SSLError):
        return RequestRejected(
            f"{subject}: no secure connection ({reason}); check {host.url_setting}", reason=reason
        )
    return Unavailable(
        f"{subject}: no complete response ({reason}); check the network and {host.url_setting}",
        reason=reason,
        sent=sent,
    )


def unexpected(response: requests.Response, subject: str, host: Host) -> Unavailable:
    """The error for a response whose status is 2xx and whose body is not what the API sends.

    Args:
        response: The response, with its body read.
        subject: What the line begins with.
        host: The host that sent it.

    Returns:
        An Unavailable: a gateway may have responded, or the body was cut off.
    """
    kind = response.headers.get("Content-Type", "no content type")
    reason = f"{len(response.content)} bytes of {kind}"
    return Unavailable(
        f"{subject}: unexpected response ({reason}); check {host.url_setting}",
        status=response.status_code,
        reason=reason,
    )


def _general_advice(status: int, *, retriable: bool) -> str:
    if status < 400:
        return "check {url}: redirects are not followed"
    return "try again later" if retriable else "check the settings"


def _reason(response: requests.Response, token: str) -> str:
    """The message of a JSON error, else the name of the status."""
    reason = response.reason or "no reason given"
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        reason = str(body.get("message") or body.get("error") or reason)
    return _one_line(reason.replace(token, "***"))


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:REASON_LIMIT]


def _retry_after(response: requests.Response) -> float | None:
    """The seconds to wait: the header holds seconds, or a date by the service's clock."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(response.headers.get("Date", "")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def http_date(value: str) -> datetime | None:
    """Parse the date of an HTTP header; None for any other text."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
