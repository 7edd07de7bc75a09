"""A kept connection to one host, without what `requests` does anew for each request."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter
from singer_sdk.authenticators import BearerTokenAuthenticator

if TYPE_CHECKING:
    from urllib3.connectionpool import ConnectionPool

if sys.version_info >= (3, 12):
    from typing import override
else:
    from typing_extensions import override


class Connection(HTTPAdapter):
    """Sends prepared requests to one host; for the use of one thread at a time.

    With each request a ``requests.Session`` looks for proxies, certificates, cookies, redirects
    and the host's pool of connections, which takes a fifth of the time of a page. Here proxies,
    certificates and pool are found once; cookies are not kept, and redirects not followed.

    Args:
        url: A URL of the host.
        token: The Bearer token of all requests.
        agent: How the connector names itself to the service.
    """

    def __init__(self, url: str, token: str, *, agent: str) -> None:
        super().__init__()
        self._session = requests.Session()
        self._settings: dict[str, Any] = dict(
            self._session.merge_environment_settings(
                url, proxies={}, stream=False, verify=None, cert=None
            )
        )
        self._session.trust_env = False
        self._session.auth = BearerTokenAuthenticator(token=token)
        self._session.headers["User-Agent"] = agent
        self._pool: ConnectionPool | None = None

    def prepare(self, method: str, url: str, **kwargs: Any) -> requests.PreparedRequest:  # noqa: ANN401
        """Prepare a request, which may be sent many times; ``kwargs`` as of ``Request``."""
        return self._session.prepare_request(requests.Request(method, url, **kwargs))

    def answer(
        self,
        request: requests.PreparedRequest,
        timeout: tuple[float, float],
    ) -> requests.Response:
        """Send a request, and read the whole answer.

        Args:
            request: The request.
            timeout: The seconds to wait for a connection, and for each part of the answer.

        Returns:
            The answer, of whatever status.

        Raises:
            requests.RequestException: No answer came, or only a part of one.
        """
        response = self.send(request, timeout=timeout, **self._settings)
        _ = response.content  # reads it
        return response

    @override
    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> ConnectionPool:
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(*args, **kwargs)
        return self._pool
