"""The quota of requests per minute, for this process or for all processes that share a store."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit
from urllib.request import url2pathname

from ..event_streams import CONNECTOR
from .errors import QuotaStoreError, Stopped
from .quota_stores import STORES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from urllib.parse import SplitResult

    from .quota_stores import Store

logger = logging.getLogger(CONNECTOR)

DEFAULT_NAME = "workato_streams"
NAME = re.compile(r"[a-z0-9_-]{1,32}")


@dataclass(frozen=True)
class QuotaUrl:
    """A parsed ``quota_url``.

    Attributes:
        scheme: One of file, redis, rediss, postgresql.
        name: Distinguishes workspaces that share a store.
        address: The URL for the store's library; it may contain a password.
    """

    scheme: str
    name: str
    address: str = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> QuotaUrl:
        """Parse a URL in which ``quota_url_problems`` finds no problems."""
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
        names = [value for key, value in query if key == "name"]
        rest = urlencode([(key, value) for key, value in query if key != "name"])
        address = urlunsplit(parts._replace(query=rest))
        return cls(parts.scheme, names[-1] if names else DEFAULT_NAME, address)

    @property
    def path(self) -> Path:
        """The file of a ``file`` URL."""
        return Path(url2pathname(urlsplit(self.address).path))

    def __str__(self) -> str:
        """The URL without user name, password and options."""
        parts = urlsplit(self.address)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}{parts.path}"

    def redact(self, text: str) -> str:
        """Replace the passwords of this URL in a text, such as that of a library's exception."""
        parts = urlsplit(self.address)
        passwords = [parts.password or ""]
        passwords += [value for key, value in parse_qsl(parts.query) if "password" in key]
        for password in passwords:
            for secret in filter(None, (password, unquote(password))):
                text = text.replace(secret, "***")
        return text


def quota_url_problems(url: str) -> Iterator[str]:
    """Check a ``quota_url``.

    Yields:
        The problems, without the URL, which may contain a password.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        yield "not a valid URL"
        return
    if parts.scheme == "file":
        yield from _file_problems(parts)
    elif parts.scheme in {"redis", "rediss"}:
        if not parts.hostname:
            yield f"must contain the host, such as {parts.scheme}://localhost:6379/0"
    # libpq can take the host from an option or from the environment.
    elif parts.scheme != "postgresql":
        yield "must begin with file:///, redis://, rediss:// or postgresql://"
        return
    for key, value in parse_qsl(parts.query, keep_blank_values=True):
        if key == "name" and not NAME.fullmatch(value):
            yield "name must be 1 to 32 lower-case letters, digits, _ or -"


def _file_problems(parts: SplitResult) -> Iterator[str]:
    if parts.netloc not in {"", "localhost"} or not re.match("/+[^/]", parts.path):
        yield "must contain the absolute path of a file, such as file:///var/lib/meltano/quota.db"
        return
    if {key for key, _ in parse_qsl(parts.query, keep_blank_values=True)} - {"name"}:
        yield "the only parameter of a file URL is name"
    path = Path(url2pathname(parts.path))
    try:
        if path.is_dir():
            yield f"{path} is a folder; add the name of a file"
        elif not path.parent.is_dir():
            yield f"the folder {path.parent} does not exist; create it"
    except OSError as exc:
        yield f"{path} cannot be used ({exc.strerror})"


# With the start of the process, a store that does not respond is reported within 10 s.
STORE_TIMEOUT_SECS = 6.0
RECONNECT_SECS = 0.5
# The maximum random delay.
BUSY_SECS = 0.02
REASON_LIMIT = 300
SERVER_REMEDY = "check that it is running and that quota_url is correct"
FILE_REMEDY = "check that it can be written and that no suspended process has locked it"


class SharedQuota:
    """The requests of all processes that share a quota; not thread-safe.

    Args:
        url: The setting ``quota_url``.
        max_requests: The maximum number of requests in a window, for all processes together.
        window_secs: The length of the window.
    """

    def __init__(self, url: str, max_requests: int, window_secs: float) -> None:
        self._url = QuotaUrl.parse(url)
        self._limit = max_requests, round(window_secs * 1000)
        self._store: Store | None = None
        self._was_connected = False
        self._has_warned = False
        self._results: SimpleQueue[float | Exception] = SimpleQueue()
        self._stopped = False

    def take(self) -> float:
        """Count a request, unless the quota is used up.

        Returns:
            0.0 if the request may be sent; otherwise the seconds after which to try again.

        Raises:
            QuotaStoreError: The store was unusable for ``STORE_TIMEOUT_SECS``.
            Stopped: ``stop`` was called.
        """
        # In a separate thread, since name resolution, a suspended server and a file lock can block
        # without a time limit.
        results: SimpleQueue[float | Exception] = SimpleQueue()
        self._results = results
        if self._stopped:
            raise Stopped("the run is being stopped")
        deadline = time.monotonic() + STORE_TIMEOUT_SECS
        threading.Thread(
            target=lambda: results.put(self._retry(deadline)), name="quota store", daemon=True
        ).start()
        try:
            result = results.get(timeout=STORE_TIMEOUT_SECS)
        except Empty:
            result = TimeoutError("no response")
        if isinstance(result, Stopped):
            raise result
        if isinstance(result, Exception):
            # Without the original exception, which may quote the password.
            raise QuotaStoreError(
                f"quota_url: cannot use the quota store {self._url} ({self._reason(result)}); "
                f"{FILE_REMEDY if self._url.scheme == 'file' else SERVER_REMEDY}"
            ) from None
        return result

    def stop(self) -> None:
        """Wake the thread that waits for the store."""
        self._stopped = True
        self._results.put(Stopped("the run is being stopped"))

    def close(self) -> None:
        """Close the connection to the store; the next request opens a new one."""
        store, self._store = self._store, None
        if store is not None:
            with contextlib.suppress(Exception):
                store.close()

    def _retry(self, deadline: float) -> float | Exception:
        """Retry failed operations if the store worked before, since a server may be restarted."""
        while isinstance(result := self._try(), Exception):
            if not self._was_connected or time.monotonic() + RECONNECT_SECS > deadline:
                break
            time.sleep(RECONNECT_SECS)
        return result

    def _try(self) -> float | Exception:
        try:
            result = self._take()
        except Exception as exc:  # noqa: BLE001 - of any of three libraries
            self.close()
            return exc
        self._was_connected = True
        return result

    def _reason(self, exc: Exception) -> str:
        text = self._url.redact(f"{type(exc).__name__}: {exc}")
        return re.sub(r"\s+", " ", text).strip()[:REASON_LIMIT]

    def _take(self) -> float:
        if self._store is None:
            self._store = STORES[self._url.scheme](self._url)
        wait_ms, other_limit = self._store.take(*self._limit)
        if other_limit is not None and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "quota_url: other processes count with max_requests_per_minute %d, and this one "
                "with %d; the ones with the lower value wait for the others, so set the same value "
                "in all of them",
                other_limit,
                self._limit[0],
            )
        # Without a random delay, the same process would be the first each time.
        return wait_ms / 1000 + random.uniform(0, BUSY_SECS) if wait_ms else 0.0  # noqa: S311 - no secret


# A minute and a second, because requests that are sent a minute apart may arrive closer together.
WINDOW_SECS = 61.0


class LocalQuota:
    """The requests of one process; not thread-safe.

    Args:
        max_requests: The maximum number of requests in a window.
        window_secs: The length of the window.
    """

    def __init__(self, max_requests: int, window_secs: float) -> None:
        self._max_requests = max_requests
        self._window_secs = window_secs
        self._sent: deque[float] = deque(maxlen=max_requests)

    def take(self) -> float:
        """Count a request, unless the quota is used up.

        Returns:
            0.0 if the request may be sent; otherwise the seconds after which to try again.
        """
        now = time.monotonic()
        if len(self._sent) == self._max_requests and self._sent[0] > now - self._window_secs:
            return self._sent[0] + self._window_secs - now
        self._sent.append(now)
        return 0.0

    def stop(self) -> None:
        """Do nothing: taking never waits."""


def open_quota(max_requests_per_minute: int, quota_url: str | None) -> LocalQuota | SharedQuota:
    """Create the quota from the settings."""
    if quota_url is None:
        return LocalQuota(max_requests_per_minute, WINDOW_SECS)
    return SharedQuota(quota_url, max_requests_per_minute, WINDOW_SECS)
