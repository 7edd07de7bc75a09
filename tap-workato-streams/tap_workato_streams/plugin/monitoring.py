"""What an operator watches: metrics for Prometheus, the progress bar, and when it is updated."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..event_streams import logger
from ..event_streams.errors import SettingError
from ..event_streams.rate_limiter import RequestStats

if TYPE_CHECKING:
    from prometheus_client import Histogram, Metric

PREFIX = "workato_streams_"

# prometheus-client is an extra, so it is only imported if ``metrics_address`` is set.


def metric(
    name: str, description: str, labels: tuple[str, ...], values: Mapping[tuple[str, ...], float]
) -> Metric:
    """Build a counter if the name ends with ``_total``, else a gauge, with a value per labels."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415

    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    built = kind(PREFIX + name, description, labels=labels)
    for each, value in values.items():
        built.add_metric(each, value)
    return built


def histogram(name: str, description: str, bounds: tuple[float, ...]) -> Histogram:
    """Create a histogram of durations in seconds, whose buckets have these upper bounds."""
    from prometheus_client import Histogram, disable_created_metrics  # noqa: PLC0415

    disable_created_metrics()  # type: ignore[no-untyped-call]
    return Histogram(PREFIX + name, description, buckets=bounds, registry=None)


def request_metrics(stats: RequestStats) -> Iterator[Metric]:
    """Yield the metrics of a connector's requests."""
    requests = "Requests that consume or publish messages, by the HTTP status of their response."
    by_status = stats.by_status.copy().items()
    yield metric("requests_total", requests, ("status",), {(key,): n for key, n in by_status})
    waited = "waited for the quota or for the end of a pause after a 429."
    for name, description, value in (
        ("retries_total", "Retried requests.", stats.retries),
        ("quota_waits_total", f"Requests that {waited}", stats.quota_waits),
        ("quota_wait_seconds_total", f"Time that requests {waited}", stats.quota_wait_secs),
    ):
        yield metric(name, description, (), {(): value})


class _Collector:
    """Builds the metrics for each request of Prometheus."""

    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


def serve_metrics(address: str, collect: Callable[[], Iterable[Metric]]) -> None:
    """Serve metrics in a daemon thread for the rest of the process."""
    import prometheus_client as client  # noqa: PLC0415

    registry = client.CollectorRegistry()
    registry.register(_Collector(collect))
    client.ProcessCollector(registry=registry)
    parts = urlsplit(f"//{address}")
    try:
        server, _ = client.start_http_server(parts.port or 0, parts.hostname or "", registry)
    except OSError as exc:
        raise SettingError(
            f"metrics_address: cannot listen on {address} ({exc.strerror}); "
            "each process needs its own port"
        ) from exc
    host = address.rpartition(":")[0]
    logger.info("metrics are served at http://%s:%d/metrics", host, server.server_port)


class Interval:
    """The interval of a repeated action, in seconds."""

    def __init__(self, secs: float) -> None:
        self._secs = secs
        self._began = time.monotonic()

    @property
    def left(self) -> float:
        """The remaining seconds of the interval."""
        return max(0.0, self._began + self._secs - time.monotonic())

    def restart(self) -> None:
        """Start the next interval."""
        self._began = time.monotonic()


class ProgressBar:
    """A progress bar above which log lines scroll; a count with a unit, or a share from 0 to 1."""

    def __init__(self, description: str, unit: str | None) -> None:
        # Only needed on a terminal.
        from tqdm import tqdm  # noqa: PLC0415
        from tqdm.contrib.logging import logging_redirect_tqdm  # noqa: PLC0415

        self._context = ExitStack()
        self._context.enter_context(logging_redirect_tqdm())
        # The text contains an estimate of the remaining time. tqdm puts a comma before it.
        share = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}]{postfix}"
        count = "{desc}: {n} {unit} [{elapsed}, {rate_fmt}]{postfix}"
        self._bar = self._context.enter_context(
            tqdm(
                desc=description,
                total=None if unit else 1.0,
                unit=unit or "",
                bar_format=count if unit else share,
                file=sys.stderr,
                dynamic_ncols=True,
                mininterval=0,
                leave=False,
            )
        )

    def show(self, done: float, text: str = "") -> None:
        """Update the count or share, and the text after it."""
        self._bar.n = done
        self._bar.set_postfix_str(text, refresh=False)
        self._bar.refresh()

    def close(self) -> None:
        """Remove the bar."""
        self._context.close()


def start_progress(description: str, unit: str | None) -> tuple[ProgressBar | None, Interval]:
    """Return a bar if stderr is a terminal, and the interval to update it, or else to log lines."""
    if sys.stderr and sys.stderr.isatty():
        return ProgressBar(description, unit), Interval(1.0)
    return None, Interval(60.0)
