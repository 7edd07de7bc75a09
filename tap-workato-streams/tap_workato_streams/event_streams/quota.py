"""The quota of requests per minute, for this process or for all processes that share a store."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from collections import deque
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from ..event_streams import CONNECTOR
from .errors import QuotaStoreError, Stopped
from .quota_stores import STORES, QuotaUrl

if TYPE_CHECKING:
    from .quota_stores import Store

logger = logging.getLogger(CONNECTOR)

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
                "quota_url: other requests were counted with max_requests_per_minute %d, those of "
                "this process with %d; processes with a lower value wait for the others, so set "
                "the same value in all of them",
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
