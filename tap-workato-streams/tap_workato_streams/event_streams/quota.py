"""The quota of requests per minute, for this process or for all processes that share a store."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, cast

from pyrate_limiter import InMemoryBucket, Rate, RateItem

from ..event_streams import CONNECTOR
from .errors import QuotaStoreError, Stopped
from .quota_stores import QuotaUrl

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

logger = logging.getLogger(CONNECTOR)

# The module of each scheme, with a function ``open_bucket``.
STORES = {
    "file": "sqlite_bucket",
    "redis": "redis_bucket",
    "rediss": "redis_bucket",
    "postgresql": "postgres_bucket",
}
# With the start of the process, a store that does not respond is reported within 10 s.
STORE_TIMEOUT_SECS = 6.0
RECONNECT_SECS = 0.5
# The interval at which expired rows are deleted.
LEAK_SECS = 10.0
# If a store is busy with a request of another process, try again after this time.
BUSY_SECS = 0.02
# The maximum delay between reading the clock and counting a request.
CLOCK_TOLERANCE_SECS = 1.0
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
        self._rate = Rate(max_requests, round(window_secs * 1000))
        self._bucket: AbstractBucket | None = None
        self._was_connected = False
        self._leak_at = 0.0
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
            target=lambda: results.put(self._persist(deadline)), name="quota store", daemon=True
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
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            with contextlib.suppress(Exception):
                bucket.close()

    def _persist(self, deadline: float) -> float | Exception:
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

    def _open(self) -> AbstractBucket:
        if self._bucket is None:
            # Only the library of this store is imported; the others may not be installed.
            store = import_module(f".{STORES[self._url.scheme]}", __package__)
            bucket: AbstractBucket = store.open_bucket(self._url, self._rate)
            self._bucket = bucket
        return self._bucket

    def _take(self) -> float:
        bucket = self._open()
        # The buckets of pyrate-limiter are asynchronous if their clients are; these are not.
        now: int = bucket.now()  # type: ignore[no-untyped-call]
        item = RateItem("request", now)
        if bucket.put(item):
            if time.monotonic() > self._leak_at:
                bucket.leak(item.timestamp)
                self._leak_at = time.monotonic() + LEAK_SECS
            return 0.0
        wait_secs = cast("int", bucket.waiting(item)) / 1000
        if wait_secs > self._rate.interval / 1000 + CLOCK_TOLERANCE_SECS:
            logger.warning(
                "quota_url: the clock of the quota store was set back; starting a new count"
            )
            bucket.flush()
            return BUSY_SECS
        # Without a random delay, the same process would be the first each time.
        return max(wait_secs, 0.0) + random.uniform(0, BUSY_SECS)  # noqa: S311 - no secret


# A minute and a second, because requests that are sent a minute apart may arrive closer together.
WINDOW_SECS = 61.0


class LocalQuota:
    """The requests of one process; not thread-safe.

    Args:
        max_requests: The maximum number of requests in a window.
        window_secs: The length of the window.
    """

    def __init__(self, max_requests: int, window_secs: float) -> None:
        self._bucket = InMemoryBucket([Rate(max_requests, round(window_secs * 1000))])

    def take(self) -> float:
        """Count a request, unless the quota is used up.

        Returns:
            0.0 if the request may be sent; otherwise the seconds after which to try again.
        """
        item = RateItem("request", time.monotonic_ns() // 1_000_000)
        self._bucket.leak(item.timestamp)
        if self._bucket.put(item):
            return 0.0
        return (cast("int", self._bucket.waiting(item)) + 1) / 1000

    def stop(self) -> None:
        """Do nothing: taking never waits."""


def open_quota(max_requests_per_minute: int, quota_url: str | None) -> LocalQuota | SharedQuota:
    """Create the quota from the settings."""
    if quota_url is None:
        return LocalQuota(max_requests_per_minute, WINDOW_SECS)
    return SharedQuota(quota_url, max_requests_per_minute, WINDOW_SECS)
