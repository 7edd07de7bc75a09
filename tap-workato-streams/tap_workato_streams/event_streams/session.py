"""The hosts of the API, and a session for requests to one of them: rate limited and retried."""

from __future__ import annotations

import functools
import ipaddress
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import backoff
import requests
from urllib3.exceptions import HTTPError

from ..event_streams import CONNECTOR, logger
from .errors import GaveUp, Unavailable, Unexpected
from .http import Host, OneHostAdapter, Response, check, unreachable
from .rate_limiter import TOO_MANY_REQUESTS, PauseTooLong, RateLimiter

T = TypeVar("T")

# docs/api.md, "Messages" and "Topics".
LEGACY_DATA_CENTERS = ("us", "eu", "jp", "sg", "au")
DATA_CENTERS = (*LEGACY_DATA_CENTERS, "il", "kr", "uk", "cn", "trial")
PUBLIC_URLS = {name: f"https://event-streams.{name}.workato.com" for name in DATA_CENTERS}
PUBLIC_URLS["us"] = "https://event-streams.workato.com"
PUBLIC_URLS["cn"] = "https://event-streams.workatoapp.cn"
WORKSPACE_URLS = {name: f"https://app.{name}.workato.com" for name in DATA_CENTERS}
WORKSPACE_URLS["us"] = "https://www.workato.com"
WORKSPACE_URLS["cn"] = "https://app.workatoapp.cn"


def is_loopback(name: str) -> bool:
    """Whether a host name or address refers to this machine."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"


def messages_host(config: Mapping[str, Any]) -> Host:
    """Return the host for publishing and consuming messages."""
    urls = WORKSPACE_URLS if config["legacy_api"] else PUBLIC_URLS
    url = str(config.get("api_url") or urls[config["data_center"]])
    return Host(url.rstrip("/"), config["api_token"], legacy=config["legacy_api"])


def developer_host(config: Mapping[str, Any]) -> Host:
    """Return the host of the Developer API."""
    url = str(config.get("developer_api_url") or WORKSPACE_URLS[config["data_center"]])
    return Host(url.rstrip("/"), config["developer_api_token"], api="developer_api")


FIRST_WAIT_SECS = 0.5
LONGEST_WAIT_SECS = 30.0
# A login page stays one, whereas a gateway may send a page of its own for some seconds.
MAX_UNEXPECTED = 5
# No gateway ends a request so soon; the target, which has no ``timeout_secs``, polls for 5 s.
SHORT_POLL_SECS = 10
# Any other type is not shown, because a header may contain anything.
MEDIA_TYPES = frozenset({"application/json", "application/xml", "text/html", "text/plain"})


@dataclass(frozen=True)
class RetryPolicy:
    """Retries requests that failed for a transient reason, within the rate limit.

    ``max_retry_secs`` bounds the time of attempts, waits and pauses after a 429, but not the time
    spent waiting for ``max_requests_per_minute``. After a 429, only the time since the last success
    of any request counts: until then, the quota was used.
    """

    limiter: RateLimiter
    max_retry_secs: float

    def call(self, request: Callable[[], T]) -> T:
        """Call a function that sends a request, until it succeeds or the time is used up.

        Any exception of the function except ``Unavailable`` propagates unchanged. Raises ``GaveUp``
        after too long or too many retries, and ``Stopped`` if the run is being stopped.
        """
        waits = backoff.expo(factor=FIRST_WAIT_SECS, max_value=LONGEST_WAIT_SECS)
        next(waits)  # The first value of backoff's generators is None.
        error: Unavailable | None = None
        unexpected = 0
        spent = 0.0
        while True:
            left = None if error is None else self.max_retry_secs - spent
            try:
                # A pause is waited for here, so that requests keep their order.
                with self.limiter.acquire(left) as paused:
                    began = time.monotonic() - paused
                    return request()
            except PauseTooLong:
                raise self._took_too_long(error, spent, self.limiter.pause_secs) from error
            except GaveUp:
                raise  # By a nested request, which has already used up its time.
            except Unavailable as exc:
                spent += 0.0 if error is None else time.monotonic() - began
                error = exc
            self.limiter.check()
            if error.status == TOO_MANY_REQUESTS:
                spent = min(spent, self.limiter.secs_without_success())
            unexpected += isinstance(error, Unexpected)
            if unexpected == MAX_UNEXPECTED:
                text = f"{error}; gave up after {unexpected} attempts"
                raise GaveUp(text, **vars(error)) from error
            asked = error.retry_after or 0.0
            pause = max(asked, self.limiter.pause_secs)
            if spent + pause >= self.max_retry_secs:
                raise self._took_too_long(error, spent, asked or pause) from error
            wait = min(max(random.uniform(0, next(waits)), asked), self.max_retry_secs - spent)  # noqa: S311 - no secret
            logger.warning("%s; retrying in %.1f s", error, max(wait, pause))
            self.limiter.sleep(wait)
            spent += wait

    def _took_too_long(self, error: Unavailable | None, spent: float, pause: float) -> GaveUp:
        later = f", as the next attempt would be {pause:.0f} s later" if pause else ""
        limit = f"(max_retry_secs is {self.max_retry_secs:g})"
        # The status and the reason are those of the last attempt.
        return GaveUp(f"{error}; gave up after {spent:.0f} s{later} {limit}", **vars(error))


class ApiSession:
    """Sends requests to one host over a persistent connection; not thread-safe.

    Unlike a ``requests.Session``, it looks up proxies and certificates once, and neither keeps
    cookies nor follows redirects. Its errors begin with ``subject``, such as ``orders (topic 11)``.
    """

    def __init__(
        self, host: Host, config: Mapping[str, Any], limiter: RateLimiter, subject: str
    ) -> None:
        self.host = host
        self.subject = subject
        self.limiter = limiter
        # What has left this machine: a refused connection does not count.
        self.requests = 0
        self.body_bytes = 0
        self.retry = RetryPolicy(limiter, config["max_retry_secs"]).call
        self._timeout_secs: float = config["request_timeout_secs"]
        self._headers = {
            "User-Agent": CONNECTOR,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {host.token}",
        }
        self._options = _options(host)
        self._adapter = OneHostAdapter()

    def prepare(self, method: str, path: str, **kwargs: Any) -> requests.PreparedRequest:  # noqa: ANN401 - of requests
        """Prepare a request, which can be sent many times; ``kwargs`` as for ``Request``."""
        return requests.Request(method, f"{self.host.url}{path}", self._headers, **kwargs).prepare()

    def send(
        self, request: requests.PreparedRequest, *, body: bytes | None = None, poll_secs: float = 0
    ) -> Response:
        """Send a request once, and read the whole response; ServiceError if its status is not 2xx.

        A ``body`` in JSON overrides that of the prepared request. The response may take
        ``poll_secs`` seconds longer than ``request_timeout_secs``.
        """
        if body is not None:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
            request.headers["Content-Type"] = "application/json"
        timeout = (self._timeout_secs, self._timeout_secs + poll_secs)
        polls = poll_secs > SHORT_POLL_SECS
        try:
            response = self._adapter.exchange(request, timeout=timeout, **self._options)
        except (OSError, HTTPError, ValueError) as exc:
            self.limiter.count(None)
            error = unreachable(exc, self.subject, self.host, polls=polls)
            if error.sent:
                self._count_sent(request)
            # Without the original exception, whose message may quote a response.
            raise error from None
        self.limiter.count(response.status)
        self._count_sent(request)
        check(response, self.subject, self.host, body or b"", polls=polls)
        return response

    def _count_sent(self, request: requests.PreparedRequest) -> None:
        self.requests += 1
        self.body_bytes += len(request.body or b"")

    def unexpected(self, response: Response) -> Unexpected:
        """Return the error for a response with status 2xx and an unexpected body."""
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        named = kind if kind in MEDIA_TYPES else "other content"
        reason = f"{len(response.content)} bytes, {named}"
        line = f"{self.subject}: unexpected response ({reason}); check {self.host.url_setting}"
        return Unexpected(line, status=response.status, reason=reason)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()


@functools.cache
def _options(host: Host) -> Mapping[str, Any]:
    """Return the certificates and proxies for a host from the environment."""
    with requests.Session() as session:
        found = session.merge_environment_settings(
            host.url, proxies={}, stream=None, verify=None, cert=None
        )
    proxies = {} if is_loopback(urlsplit(host.url).hostname or "") else found["proxies"]
    return {"verify": found["verify"], "cert": found["cert"], "proxies": proxies}
