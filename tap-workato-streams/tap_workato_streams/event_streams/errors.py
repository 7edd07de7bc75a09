"""What can go wrong with the service, each told in one line.

    EventStreamsError
    ├── SettingError      a setting is wrong, and only the run could show it
    ├── Stopped           the run is being stopped
    ├── QuotaStoreError   the store of a shared quota cannot be used
    └── ServiceError      the service's answer, or the lack of one
        ├── RequestRejected       no retry helps: redirects, and 4xx other than those below
        └── Unavailable   worth a retry: 408, 425, 429, 5xx, resets, timeouts, unreadable bodies

The text of an exception is the line that the user sees: it names what was asked, the status, the
service's own words and what to do. It never holds a token or a payload.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS_LIMIT = 300
WORTH_A_RETRY = frozenset({408, 425, 429})

ADVICE = {
    400: "check the settings that this request is made of",
    401: "check {token}",
    403: "give the API client of {token} access to this topic",
    404: "check the topic's id, data_center and {url}",
    413: "lower max_batch_bytes, or split what is too large",
    422: "the message must fit the schema of the topic",
    429: "ask for a larger quota, or set max_requests_per_minute below it",
}
REDIRECT_ADVICE = "check {url}: redirects are not followed"
SERVER_ADVICE = "try again later"


class EventStreamsError(Exception):
    """Base of all errors of this connector; its text is one line for the user."""


class SettingError(EventStreamsError):
    """A setting is wrong in a way that only the run could show."""


class Stopped(EventStreamsError):
    """The run is being stopped: nothing more may be sent."""


class QuotaStoreError(EventStreamsError):
    """The store of the shared quota cannot be used: a remedy is needed before any request."""


class ServiceError(EventStreamsError):
    """The service answered with an error, or did not answer.

    Args:
        line: The one line for the user.
        status: The HTTP status, or None where no answer came.
        reason: The service's own words, one line, without secrets.
        retry_after: The seconds that the service asked to wait, where it did.
    """

    def __init__(
        self,
        line: str,
        *,
        status: int | None = None,
        reason: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(line)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class RequestRejected(ServiceError):
    """The request will not succeed, however often it is sent."""


class Unavailable(ServiceError):
    """The request may succeed if it is sent again."""


def check(
    response: requests.Response,
    *,
    what: str,
    secrets: Sequence[str],
    token: str = "api_token",  # noqa: S107
) -> None:
    """Pass an answer with a status of 2xx, and raise the error that another status stands for.

    Args:
        response: The answer, with its body read.
        what: What was asked, e.g. ``orders (topic 11)``: the line begins with it.
        secrets: The texts that must not be repeated.
        token: The name of the setting that holds the token of this request.

    Raises:
        Unavailable: For 408, 425, 429 and 5xx.
        RequestRejected: For every other status but 2xx.
    """
    status = response.status_code
    if 200 <= status < 300:
        return
    reason = _words(response, secrets)
    retriable = status in WORTH_A_RETRY or status >= 500
    advice = ADVICE.get(status, REDIRECT_ADVICE if status < 400 else SERVER_ADVICE)
    advice = advice.format(token=token, url=_url(token))
    raise (Unavailable if retriable else RequestRejected)(
        f"{what}: the service answered {status} ({reason}); {advice}",
        status=status,
        reason=reason,
        retry_after=_retry_after(response),
    )


def unreachable(
    exc: requests.RequestException,
    *,
    what: str,
    token: str = "api_token",  # noqa: S107
) -> ServiceError:
    """Turn an exception of ``requests`` into ours: no answer came, or only a part of one.

    Args:
        exc: What ``requests`` raised.
        what: What was asked.
        token: The name of the setting that holds the token of this request.

    Returns:
        RequestRejected if the certificate is not trusted, which no retry fixes; else Unavailable.
    """
    cause: BaseException = exc
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
    reason = _one_line(f"{type(cause).__name__}: {cause}")
    if isinstance(exc, requests.exceptions.SSLError):
        return RequestRejected(
            f"{what}: no secure connection ({reason}); check {_url(token)}", reason=reason
        )
    return Unavailable(
        f"{what}: no complete answer ({reason}); check the network and {_url(token)}",
        reason=reason,
    )


def unreadable(
    response: requests.Response,
    *,
    what: str,
    token: str = "api_token",  # noqa: S107
) -> Unavailable:
    """Tell of an answer whose status is 2xx and whose body is not what the API sends.

    Args:
        response: The answer, with its body read.
        what: What was asked.
        token: The name of the setting that holds the token of this request.

    Returns:
        An Unavailable: a gateway in the middle may have answered, or the body was cut short.
    """
    kind = response.headers.get("Content-Type", "no content type")
    reason = f"{len(response.content)} bytes of {kind}"
    return Unavailable(
        f"{what}: the answer is not what the API sends ({reason}); check {_url(token)}",
        status=response.status_code,
        reason=reason,
    )


def _url(token: str) -> str:
    """The name of the setting that holds the URL to which a token goes."""
    return token.replace("_token", "_url")


def _words(response: requests.Response, secrets: Sequence[str]) -> str:
    """The service's own words: the message of a JSON error, else the name of the status."""
    words = response.reason or "no reason given"
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        words = str(body.get("message") or body.get("error") or words)
    for secret in filter(None, secrets):
        words = words.replace(secret, "***")
    return _one_line(words)


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:WORDS_LIMIT]


def _retry_after(response: requests.Response) -> float | None:
    """The seconds to wait: the header holds seconds, or a date by the service's own clock."""
    value = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    until = http_date(value)
    if until is None:
        return None
    now = http_date(response.headers.get("Date", "")) or datetime.now(timezone.utc)
    return max(0.0, (until - now).total_seconds())


def http_date(value: str) -> datetime | None:
    """Read the date of an HTTP header; None for a text that is no such date."""
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=timezone.utc)
