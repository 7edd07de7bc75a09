"""A session for requests to one host, with rate limiting, retries, and errors with the topic."""

from __future__ import annotations

import functools
import logging
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import backoff
import requests
from urllib3.exceptions import HTTPError

from ..event_streams import CONNECTOR
from .errors import GaveUp, Unavailable
from .hosts import Timeouts, developer_host, is_loopback, messages_host
from .http import OneHostAdapter, check, unexpected, unreachable
from .rate_limiter import TOO_MANY_REQUESTS, PauseTooLong

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .hosts import Host
    from .http import Response
    from .rate_limiter import RateLimiter

T = TypeVar("T")

logger = logging.getLogger(CONNECTOR)

FIRST_WAIT_SECS = 0.5
LONGEST_WAIT_SECS = 30.0


@dataclass(frozen=True)
class RetryPolicy:
    """Retries requests that failed for a transient reason, within the rate limit.

    Attributes:
        limiter: The rate limiter of the process; each attempt acquires it.
        max_retry_secs: The maximum time in total for which a request is retried, including waits
            and pauses after a 429. Waiting for ``max_requests_per_minute`` does not count. After a
            429, only the time since the last success of any request counts: until then, the quota
            was used.
    """

    limiter: RateLimiter
    max_retry_secs: float

    def call(self, request: Callable[[], T]) -> T:
        """Call a function that sends a request, until it succeeds or the time is used up.

        Any exception of the function except ``Unavailable`` propagates unchanged.

        Raises:
            GaveUp: Retries took longer than ``max_retry_secs``.
            Stopped: The run is being stopped.
        """
        try:
            with self.limiter.acquire():
                return request()
        except GaveUp:
            raise  # Raised by a nested request, which has already used up its time.
        except Unavailable as exc:
            error = exc
        # Outside of the block: otherwise, the first error would be the context of all later ones.
        return self._retry(request, error)

    def _retry(self, request: Callable[[], T], error: Unavailable) -> T:
        waits = backoff.expo(factor=FIRST_WAIT_SECS, max_value=LONGEST_WAIT_SECS)
        next(waits)  # The first value of backoff's generators is None.
        spent = 0.0
        while True:
            self.limiter.check()
            if error.status == TOO_MANY_REQUESTS:
                spent = min(spent, self.limiter.secs_without_success())
            pause = max(error.retry_after or 0.0, self.limiter.pause_secs)
            if spent + pause >= self.max_retry_secs:
                raise self._gave_up(error, spent) from error
            wait = max(random.uniform(0, next(waits)), error.retry_after or 0.0)  # noqa: S311 - no secret
            wait = min(wait, self.max_retry_secs - spent)
            logger.warning("%s; retrying in %.1f s", error, max(wait, pause))
            self.limiter.sleep(wait)
            spent += wait
            try:
                # The rest of a pause is spent here, so that requests keep their order.
                with self.limiter.acquire(self.max_retry_secs - spent) as paused:
                    spent += paused
                    began = time.monotonic()
                    return request()
            except PauseTooLong:
                raise self._gave_up(error, spent) from error
            except GaveUp:
                raise
            except Unavailable as exc:
                spent += time.monotonic() - began
                error = exc

    def _gave_up(self, error: Unavailable, spent: float) -> GaveUp:
        asked = f", asked to wait {error.retry_after:.0f} s" if error.retry_after else ""
        return GaveUp(
            f"{error}; gave up after {spent:.0f} s{asked} "
            f"(max_retry_secs is {self.max_retry_secs:g})",
            status=error.status,
            reason=error.reason,
            retry_after=error.retry_after,
            sent=error.sent,
        )


class ApiSession:
    """Sends requests to one host over a persistent connection; not thread-safe.

    A ``requests.Session`` looks up proxies, certificates, cookies, redirects and the host's
    connection pool for each request, which takes a fifth of the time for a page. This session
    looks up proxies, certificates and the pool once; it does not keep cookies or follow redirects.

    Args:
        host: The host.
        timeouts: The time limits of requests.
        limiter: The rate limiter of the process.
        subject: The beginning of errors, such as ``orders (topic 11)``.
    """

    def __init__(self, host: Host, timeouts: Timeouts, limiter: RateLimiter, subject: str) -> None:
        self.host = host
        self.subject = subject
        self.limiter = limiter
        self._timeouts = timeouts
        self._policy = RetryPolicy(limiter, timeouts.retry_secs)
        self._headers = {
            "User-Agent": CONNECTOR,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
            "Authorization": f"Bearer {host.token}",
        }
        self._options = _options(host)
        self._adapter = OneHostAdapter()

    @classmethod
    def for_messages(
        cls, config: Mapping[str, Any], limiter: RateLimiter, subject: str
    ) -> ApiSession:
        """Create a session for publishing and consuming messages from the settings."""
        return cls(messages_host(config), Timeouts.from_config(config), limiter, subject)

    @classmethod
    def for_developer_api(cls, config: Mapping[str, Any], limiter: RateLimiter) -> ApiSession:
        """Create a session for the Developer API from the settings."""
        return cls(developer_host(config), Timeouts.from_config(config), limiter, "Developer API")

    def prepare(self, method: str, path: str, **kwargs: Any) -> requests.PreparedRequest:  # noqa: ANN401 - of requests
        """Prepare a request, which can be sent many times; ``kwargs`` as for ``Request``."""
        return requests.Request(method, f"{self.host.url}{path}", self._headers, **kwargs).prepare()

    def retry(self, request: Callable[[], T]) -> T:
        """Call a function that sends one request, until it succeeds; see ``RetryPolicy.call``."""
        return self._policy.call(request)

    def send(
        self,
        request: requests.PreparedRequest,
        *,
        body: bytes | None = None,
        poll_secs: float = 0.0,
    ) -> Response:
        """Send a request once, and read the whole response.

        Args:
            request: The request.
            body: A body in JSON; overrides that of the prepared request.
            poll_secs: The time in seconds that the service may wait for a message.

        Returns:
            The response, whose status is 2xx.

        Raises:
            ServiceError: The status is not 2xx, or there is no complete response.
        """
        if body is not None:
            request.body = body
            request.headers["Content-Length"] = str(len(body))
            request.headers["Content-Type"] = "application/json"
        timeout = (self._timeouts.request_secs, self._timeouts.request_secs + poll_secs)
        try:
            response = self._adapter.exchange(request, timeout=timeout, **self._options)
        except (OSError, HTTPError, ValueError) as exc:
            # Without the original exception, whose message may quote a response.
            raise unreachable(exc, self.subject, self.host) from None
        check(response, self.subject, self.host, body or b"")
        return response

    def unexpected(self, response: Response) -> Unavailable:
        """Return the error for a response with status 2xx and an unexpected body."""
        return unexpected(response, self.subject, self.host)

    def close(self) -> None:
        """Close the connection."""
        self._adapter.close()


@functools.lru_cache(maxsize=4)
def _options(host: Host) -> Mapping[str, Any]:
    """Return the certificates and proxies for a host from the environment."""
    with requests.Session() as session:
        found = session.merge_environment_settings(
            host.url, proxies={}, stream=None, verify=None, cert=None
        )
    proxies = {} if is_loopback(urlsplit(host.url).hostname or "") else found["proxies"]
    return {"verify": found["verify"], "cert": found["cert"], "proxies": proxies}
