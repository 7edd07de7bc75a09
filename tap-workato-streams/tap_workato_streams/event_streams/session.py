"""One kept connection to one host, without what `requests` does anew for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from singer_sdk.authenticators import BearerTokenAuthenticator
from typing_extensions import override

from .errors import check, unreachable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from urllib3.connectionpool import ConnectionPool


class Parts(Protocol):
    """A body that is sent part by part; its length is that of all parts, in bytes."""

    def __len__(self) -> int:
        """Say how many bytes there are."""

    def __iter__(self) -> Iterator[bytes]:
        """Hand over the parts."""


class ApiSession(HTTPAdapter):
    """Sends prepared requests to one host; for the use of one thread at a time.

    With each request a ``requests.Session`` looks for proxies, certificates, cookies, redirects
    and the host's pool of connections, which takes a fifth of the time of a page. Here proxies,
    certificates and pool are found once; cookies are not kept, and redirects not followed.

    Args:
        url: A URL of the host.
        token: The Bearer token of all requests.
        agent: How the connector names itself to the service.
        timeout_secs: How long to wait for a connection, and for each part of an answer.
        setting: The name of the setting that holds the token, for errors.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        agent: str,
        timeout_secs: float,
        setting: str = "api_token",
    ) -> None:
        super().__init__()
        self._session = requests.Session()
        self._environment: dict[str, Any] = dict(
            self._session.merge_environment_settings(
                url, proxies={}, stream=False, verify=None, cert=None
            )
        )
        self._session.trust_env = False
        self._session.auth = BearerTokenAuthenticator(token=token)
        self._session.headers["User-Agent"] = agent
        self._token = token
        self._setting = setting
        self._timeout_secs = timeout_secs
        self._pool: ConnectionPool | None = None

    def prepare(self, method: str, url: str, **kwargs: Any) -> requests.PreparedRequest:  # noqa: ANN401
        """Prepare a request, which may be sent many times; ``kwargs`` as of ``Request``."""
        return self._session.prepare_request(requests.Request(method, url, **kwargs))

    def ask(
        self,
        request: requests.PreparedRequest,
        *,
        what: str,
        body: bytes | Parts | None = None,
        poll_secs: float = 0.0,
    ) -> requests.Response:
        """Send a request, and read the whole answer.

        Args:
            request: The request.
            what: What is asked, for errors.
            body: The body to send in place of the one that it was prepared with.
            poll_secs: How many seconds longer the service may take to begin its answer.

        Returns:
            The answer, whose status is 2xx.

        Raises:
            ServiceError: Another status, or no complete answer.
        """
        if body is not None:
            # What requests can send is more than its types say: anything that yields bytes.
            request.body = body  # type: ignore[assignment]
            request.headers["Content-Length"] = str(len(body))
        timeout = (self._timeout_secs, self._timeout_secs + poll_secs)
        try:
            response = self.send(request, timeout=timeout, **self._environment)
            _ = response.content  # reads it
        except requests.RequestException as exc:
            raise unreachable(exc, what=what, token=self._setting) from exc
        check(response, what=what, secrets=[self._token], token=self._setting)
        return response

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool
