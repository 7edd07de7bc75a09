"""Counting requests in the store, with a time limit on everything that the store does."""

from __future__ import annotations

import contextlib
import logging
import random
import re
import threading
import time
from importlib import import_module
from typing import TYPE_CHECKING, cast

from pyrate_limiter import Rate, RateItem

from .errors import QuotaStoreError, Stopped
from .quota_url import QuotaUrl

if TYPE_CHECKING:
    from pyrate_limiter import AbstractBucket

logger = logging.getLogger(__name__)

# The module of each scheme, with a function ``open_bucket``.
STORES = {
    "file": "sqlite_bucket",
    "redis": "redis_bucket",
    "rediss": "redis_bucket",
    "postgresql": "postgres_bucket",
}
# A store that does not respond is reported within 10 s, the start of the process included.
STORE_TIMEOUT_SECS = 6.0
RECONNECT_SECS = 0.5
# How often rows that no longer count are deleted.
LEAK_SECS = 10.0
# If a store is busy with the request of another process, try again after a moment.
BUSY_SECS = 0.02
# How far apart the clock readings of two processes may arrive at the store.
CLOCK_TOLERANCE_SECS = 1.0
REASON_LIMIT = 300
SERVER_REMEDY = "check that it is running and that quota_url is correct"
FILE_REMEDY = "check that it can be written and that no suspended process has locked it"


class SharedQuota:
    """The requests of all processes that share a quota; for the use of one thread at a time.

    Args:
        url: The setting ``quota_url``.
        max_requests: How many requests may be sent in a window, by all processes together.
        window_secs: The length of the window.
    """

    def __init__(self, url: str, max_requests: int, window_secs: float) -> None:
        self._url = QuotaUrl.parse(url)
        self._rate = Rate(max_requests, round(window_secs * 1000))
        self._bucket: AbstractBucket | None = None
        self._was_connected = False
        self._leak_at = 0.0
        self._changed = threading.Condition()
        self._stopped = False

    def take(self) -> float:
        """Count a request, if the quota has room for it.

        Returns:
            0.0 if the request may be sent; else the seconds after which to try again.

        Raises:
            QuotaStoreError: The store has not been usable for ``STORE_TIMEOUT_SECS``.
            Stopped: ``stop`` was called.
        """
        # In a thread of its own, since name resolution, a server that is suspended and a file lock
        # know no time limit.
        results: list[float | Exception] = []

        def run() -> None:
            result = self._persist(deadline)
            with self._changed:
                results.append(result)
                self._changed.notify_all()

        deadline = time.monotonic() + STORE_TIMEOUT_SECS
        threading.Thread(target=run, name="quota store", daemon=True).start()
        with self._changed:
            self._changed.wait_for(
                lambda: results or self._stopped, timeout=deadline - time.monotonic()
            )
            if self._stopped:
                raise Stopped("the run is being stopped")
        result = results[0] if results else TimeoutError("no response")
        if isinstance(result, Exception):
            # Without the original exception: it may quote the password.
            raise QuotaStoreError(
                f"quota_url: cannot use the quota store {self._url} ({self._reason(result)}); "
                f"{FILE_REMEDY if self._url.scheme == 'file' else SERVER_REMEDY}"
            ) from None
        return result

    def stop(self) -> None:
        """Wake the thread that waits for the store."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def close(self) -> None:
        """Close the connection to the store."""
        self._discard()

    def _persist(self, deadline: float) -> float | Exception:
        """Repeat what fails, if the store worked before: a server may be restarted."""
        while isinstance(result := self._try(), Exception):
            if not self._was_connected or time.monotonic() + RECONNECT_SECS > deadline:
                break
            time.sleep(RECONNECT_SECS)
        return result

    def _try(self) -> float | Exception:
        try:
            result = self._take()
        except Exception as exc:  # noqa: BLE001 - of any of three libraries
            self._discard()
            return exc
        self._was_connected = True
        return result

    def _discard(self) -> None:
        bucket, self._bucket = self._bucket, None
        if bucket is not None:
            with contextlib.suppress(Exception):
                bucket.close()

    def _reason(self, exc: Exception) -> str:
        text = self._url.redact(f"{type(exc).__name__}: {exc}")
        return re.sub(r"\s+", " ", text).strip()[:REASON_LIMIT]

    def _open(self) -> AbstractBucket:
        if self._bucket is None:
            # The library of one store alone is imported; that of another may not be installed.
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
            logger.warning("quota_url: the clock of the quota store was set back; counting anew")
            bucket.flush()
            return BUSY_SECS
        # Without chance, the same process would be the first each time.
        return max(wait_secs, 0.0) + random.uniform(0, BUSY_SECS)  # noqa: S311
